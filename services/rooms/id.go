package rooms

import (
	"crypto/rand"
	"hash/crc32"
)

// An id of a message is 21 characters: ten of chance, three that agree with the
// room and the rest, and eight that are its number in the room. So a message is
// found by its id without an index, and an id of another room is known as such.
const (
	idLen    = 21
	idChance = 10
	idCheck  = 3
)

const idAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

var idDigits = func() (d [256]int8) {
	for i := range d {
		d[i] = -1
	}
	for i := range len(idAlphabet) {
		d[idAlphabet[i]] = int8(i)
	}
	return d
}()

// newChance is the part of an id that cannot be guessed. It does not begin with
// "-", which a command line would take for a flag.
func newChance() string {
	var b [idChance]byte
	for {
		rand.Read(b[:])
		for i := range b {
			b[i] = idAlphabet[b[i]&63]
		}
		if b[0] != '-' {
			return string(b[:])
		}
	}
}

func makeID(chance, room string, seq uint64) string {
	var b [idLen]byte
	copy(b[:], chance[:idChance])
	putDigits(b[idChance:idChance+idCheck], uint64(idSum(chance[:idChance], room, seq)))
	putDigits(b[idChance+idCheck:], seq)
	return string(b[:])
}

// parseID returns the number of a message of this room; ok is false for what is
// no id of one.
func parseID(room, id string) (seq uint64, ok bool) {
	if len(id) != idLen {
		return 0, false
	}
	for i := range idLen {
		if idDigits[id[i]] < 0 {
			return 0, false
		}
	}
	seq = digits(id[idChance+idCheck:])
	sum := uint64(idSum(id[:idChance], room, seq))
	return seq, seq > 0 && digits(id[idChance:idChance+idCheck]) == sum
}

func idSum(chance, room string, seq uint64) uint32 {
	var b [8]byte
	putDigits(b[:], seq)
	sum := crc32.Update(crc32.ChecksumIEEE([]byte(chance)), crc32.IEEETable, []byte(room))
	return crc32.Update(sum, crc32.IEEETable, b[:]) & (1<<(6*idCheck) - 1)
}

func putDigits(b []byte, n uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = idAlphabet[n&63]
		n >>= 6
	}
}

func digits(s string) (n uint64) {
	for i := range len(s) {
		n = n<<6 | uint64(idDigits[s[i]])
	}
	return n
}
