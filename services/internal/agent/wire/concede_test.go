package wire

import (
	"fmt"
	"testing"
)

func TestConcessions(t *testing.T) {
	made := ""
	list := func() *Concessions {
		var c Concessions
		for _, name := range []string{"a", "", "b"} {
			c.May(name, Naming("field-"+name), func() { made += "[" + name + "]" })
		}
		return &c
	}
	c := list()
	for range 3 {
		c.adapt(&Failure{Text: "No FIELD-B here"})
	}
	if made != "[][b]" {
		t.Errorf("made %s", made)
	}
	if _, again := c.adapt(&Failure{Text: "else"}); again {
		t.Error("nothing fits, but it was tried again")
	}

	var l lessons
	l.learn("m", []string{"b"})
	for model, want := range map[string]string{"m": "[b]", "n": ""} {
		made = ""
		c := list()
		if l.apply(model, c); made != want || len(*c) != 3-len(want)/3 {
			t.Errorf("%s: made %s, %d left", model, made, len(*c))
		}
	}
	for n := range 10 * maxLessons {
		l.learn(fmt.Sprint(n), []string{"x"})
	}
	if len(l.known) > maxLessons {
		t.Errorf("%d lessons", len(l.known))
	}
}
