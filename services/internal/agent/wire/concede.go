package wire

import (
	"slices"
	"sync"
)

// Concessions are the changes that can be made to a request when a server
// refuses it. Each is made once, so the attempts end.
type Concessions []concession

type concession struct {
	name string
	at   func(*Failure) bool
	make func()
}

// May allows a change at a refusal that fits. A server that refused something by
// name is not sent it again for the same model; without a name it is asked anew.
func (c *Concessions) May(name string, at func(*Failure) bool, change func()) {
	*c = append(*c, concession{name, at, change})
}

// adapt makes the first change that fits.
func (c *Concessions) adapt(f *Failure) (name string, again bool) {
	for i, one := range *c {
		if one.at(f) {
			one.make()
			*c = slices.Delete(*c, i, i+1)
			return one.name, true
		}
	}
	return "", false
}

// Naming fits a refusal that has one of the phrases, in lower case.
func Naming(phrases ...string) func(*Failure) bool {
	return func(f *Failure) bool { return f.Says(phrases...) }
}

// Refusing fits a refusal that has one of the phrases and says that such a thing
// is not taken. For words that refusals have for other reasons, too.
func Refusing(phrases ...string) func(*Failure) bool {
	return func(f *Failure) bool {
		return f.Says(phrases...) && f.Says("unsupported", "unrecognized", "unknown", "unexpected", "not permitted",
			"not supported", "not support", "not allowed", "deprecated", "no such")
	}
}

// lessons are the named changes that made a server take a model's requests.
type lessons struct {
	mu    sync.Mutex
	known map[[2]string]bool // model and name
}

// maxLessons bounds what is remembered: models are named by clients.
const maxLessons = 256

func (l *lessons) learn(model string, names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range names {
		if l.known == nil || len(l.known) >= maxLessons {
			l.known = map[[2]string]bool{}
		}
		l.known[[2]string{model, name}] = true
	}
}

// apply makes the changes that are known to be needed.
func (l *lessons) apply(model string, c *Concessions) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.known) == 0 {
		return
	}
	*c = slices.DeleteFunc(*c, func(one concession) bool {
		known := one.name != "" && l.known[[2]string{model, one.name}]
		if known {
			one.make()
		}
		return known
	})
}
