package memory

import (
	"bytes"
	"hash/maphash"
)

// node is a treap that never changes: a write copies the path to what it
// touches, so that a root is a snapshot.
type node struct {
	key, value  []byte
	rank        uint64
	left, right *node
}

var seed = maphash.MakeSeed()

func (n *node) get(key []byte) []byte {
	for n != nil {
		switch c := bytes.Compare(key, n.key); {
		case c == 0:
			return n.value
		case c < 0:
			n = n.left
		default:
			n = n.right
		}
	}
	return nil
}

// put returns the tree with a value, which must not be nil.
func (n *node) put(key, value []byte) *node {
	if n == nil {
		return &node{key: key, value: value, rank: maphash.Bytes(seed, key)}
	}
	at := *n
	switch c := bytes.Compare(key, n.key); {
	case c == 0:
		at.value = value
	case c < 0:
		at.left = n.left.put(key, value)
		if up := at.left; up.rank > at.rank { // it was copied just now
			at.left, up.right = up.right, &at
			return up
		}
	default:
		at.right = n.right.put(key, value)
		if up := at.right; up.rank > at.rank {
			at.right, up.left = up.left, &at
			return up
		}
	}
	return &at
}

// remove returns the tree without a key.
func (n *node) remove(key []byte) *node {
	if n == nil {
		return nil
	}
	at := *n
	switch c := bytes.Compare(key, n.key); {
	case c == 0:
		return join(n.left, n.right)
	case c < 0:
		if at.left = n.left.remove(key); at.left == n.left {
			return n
		}
	default:
		if at.right = n.right.remove(key); at.right == n.right {
			return n
		}
	}
	return &at
}

// join is one tree of two, all keys of the left one first.
func join(left, right *node) *node {
	switch {
	case left == nil:
		return right
	case right == nil:
		return left
	case left.rank > right.rank:
		at := *left
		at.right = join(left.right, right)
		return &at
	}
	at := *right
	at.left = join(left, right.left)
	return &at
}

// walk yields the keys in [start, end), a nil end being none, until yield says
// no; false if it did.
func (n *node) walk(start, end []byte, reverse bool, yield func(k, v []byte) bool) bool {
	if n == nil {
		return true
	}
	after := bytes.Compare(n.key, start) >= 0             // of start: smaller keys matter, too
	before := end == nil || bytes.Compare(n.key, end) < 0 // of end
	first, second := n.left, n.right
	goFirst, goSecond := after, before
	if reverse {
		first, second, goFirst, goSecond = second, first, goSecond, goFirst
	}
	if goFirst && !first.walk(start, end, reverse, yield) {
		return false
	}
	if after && before && !yield(n.key, n.value) {
		return false
	}
	return !goSecond || second.walk(start, end, reverse, yield)
}
