package access

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"time"

	"golang.org/x/crypto/scrypt"

	"anthill/services/internal/fault"
)

// Cost of a password: 32 MiB and some 100 ms.
const (
	scryptN      = 1 << 15
	scryptR      = 8
	scryptP      = 1
	passwordSize = 32
	passwordMax  = 1024 // bytes
)

// password is one that was hashed, and how.
type password struct {
	Salt []byte `json:"salt"`
	Hash []byte `json:"hash"`
	N    int    `json:"n"`
	R    int    `json:"r"`
	P    int    `json:"p"`
}

func newPassword(plaintext string) (*password, error) {
	p := &password{Salt: make([]byte, 16), N: scryptN, R: scryptR, P: scryptP}
	if _, err := rand.Read(p.Salt); err != nil {
		return nil, err
	}
	var err error
	p.Hash, err = scrypt.Key([]byte(plaintext), p.Salt, p.N, p.R, p.P, passwordSize)
	return p, err
}

// matches takes as long for a wrong password as for the right one.
func (p *password) matches(plaintext string) (bool, error) {
	if len(plaintext) > passwordMax {
		plaintext = ""
	}
	hash, err := scrypt.Key([]byte(plaintext), p.Salt, p.N, p.R, p.P, len(p.Hash))
	return err == nil && subtle.ConstantTimeCompare(hash, p.Hash) == 1, err
}

// waitMax is how many may wait at the gate, the one inside included.
const waitMax = 16

// gate lets one password be tried after the other: guesses that are sent at once
// are counted all the same, and cost the machine no more than one does.
type gate struct{ places, turn chan struct{} }

func newGate() gate { return gate{make(chan struct{}, waitMax), make(chan struct{}, 1)} }

// enter waits for one's turn; leave must be called after it.
func (g gate) enter(ctx context.Context) (leave func(), err error) {
	select {
	case g.places <- struct{}{}:
	default:
		return nil, fault.New(fault.Exhausted, "OVERLOADED", "Too many invites are being exchanged: try again in a moment.").
			RetryAfter(time.Second)
	}
	select {
	case g.turn <- struct{}{}:
		return func() { <-g.turn; <-g.places }, nil
	case <-ctx.Done():
		<-g.places
		return nil, ctx.Err()
	}
}
