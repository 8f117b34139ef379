package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// bbolt believes its pages: a damaged one makes it panic, fault or recurse
// without end. So a file is read here first, from the root down, level by
// level, with nothing taken for granted. Small files are read whole; of large
// ones the first maxChecked pages, which hold all the inner pages of the trees,
// so that starting stays fast.
//
// Content of rows is not covered, for bbolt keeps no checksums of it.
const maxChecked = 8 << 10

// Layout of bbolt's file, version 2. Every page starts with a header: id (8
// bytes), flags (2), count (2), overflow (4). All numbers are in the machine's
// byte order.
const (
	headerLen  = 16
	elementLen = 16
	metaLen    = 64
	rootRefLen = 16 // a tree's root page and sequence

	magic       = 0xED0CDAED
	boltVersion = 2

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10

	treeElement = 0x01      // flag of a leaf element whose value is a tree
	noFreelist  = 1<<64 - 1 // in a meta page: the list is not stored
)

var order = binary.NativeEndian

// metaPage is what the check needs of a meta page.
type metaPage struct {
	pageSize, freelist, root, high, txid uint64
}

// pageChecker walks the pages of one file.
type pageChecker struct {
	file io.ReaderAt
	metaPage
	seen  map[uint64]bool
	queue []uint64
	buf   []byte
}

// check returns an error if a file of this size is not a sound bbolt file. It
// warns if the newest commit may be missing.
func check(file io.ReaderAt, size int64) (warning string, err error) {
	m, found := newestMeta(file)
	switch {
	case found == 0:
		return "", errors.New("it is not a store, or its first pages are destroyed")
	case m.pageSize < 512 || m.high > uint64(size)/m.pageSize:
		return "", fmt.Errorf("it is cut off: %d bytes of %d", size, m.high*m.pageSize)
	case found == 1:
		warning = "one of the two meta pages is damaged; going on from the other, so the last commit may be missing"
	}
	c := &pageChecker{file: file, metaPage: m, seen: map[uint64]bool{}, queue: []uint64{m.root}}
	if m.freelist != noFreelist {
		if err := c.freePages(); err != nil {
			return "", err
		}
	}
	for len(c.queue) > 0 && len(c.seen) < maxChecked {
		id := c.queue[0]
		c.queue = c.queue[1:]
		if err := c.treePage(id); err != nil {
			return "", fmt.Errorf("page %d: %w", id, err)
		}
	}
	return warning, nil
}

// newestMeta returns the newest of the two meta pages, and how many are sound.
// The second one follows the first page, whose size the first one tells; if that
// is damaged, every size is tried.
func newestMeta(file io.ReaderAt) (newest metaPage, found int) {
	buf := make([]byte, headerLen+metaLen)
	read := func(offset int64, id uint64) bool {
		if _, err := file.ReadAt(buf, offset); err != nil {
			return false
		}
		b := buf[headerLen:]
		sum := fnv.New64a()
		sum.Write(b[:56])
		if order.Uint32(b) != magic || order.Uint32(b[4:]) != boltVersion || order.Uint64(b[56:]) != sum.Sum64() {
			return false
		}
		m := metaPage{
			pageSize: uint64(order.Uint32(b[8:])),
			root:     order.Uint64(b[16:]),
			freelist: order.Uint64(b[32:]),
			high:     order.Uint64(b[40:]),
			txid:     order.Uint64(b[48:]),
		}
		if id*m.pageSize != uint64(offset) {
			return false
		}
		if found++; found == 1 || m.txid > newest.txid {
			newest = m
		}
		return true
	}
	read(0, 0)
	for size := int64(1 << 10); size <= 16<<20; size <<= 1 {
		if read(size, 1) {
			break
		}
	}
	return newest, found
}

// load reads a page with its overflow. The bytes are valid until the next call.
func (c *pageChecker) load(id uint64) ([]byte, error) {
	if id < 2 || id >= c.high {
		return nil, fmt.Errorf("it does not exist (there are %d)", c.high)
	}
	if c.buf == nil {
		c.buf = make([]byte, c.pageSize)
	}
	page := c.buf[:c.pageSize]
	if _, err := c.file.ReadAt(page, int64(id*c.pageSize)); err != nil {
		return nil, err
	}
	pages := uint64(order.Uint32(page[12:])) + 1
	if order.Uint64(page) != id || pages > c.high-id {
		return nil, errors.New("its header is damaged")
	}
	for i := id; i < id+pages; i++ {
		if c.seen[i] {
			return nil, fmt.Errorf("page %d is used twice", i)
		}
		c.seen[i] = true
	}
	if pages == 1 {
		return page, nil
	}
	if size := int(pages * c.pageSize); size > len(c.buf) {
		c.buf = make([]byte, size)
	}
	page = c.buf[:pages*c.pageSize]
	_, err := c.file.ReadAt(page, int64(id*c.pageSize))
	return page, err
}

// freePages checks the list of free pages.
func (c *pageChecker) freePages() error {
	page, err := c.load(c.freelist)
	if err != nil {
		return fmt.Errorf("list of free pages: %w", err)
	}
	list, n := page[headerLen:], uint64(order.Uint16(page[10:]))
	if n == 0xffff { // too many for the header
		n = order.Uint64(list)
		list = list[8:]
	}
	if order.Uint16(page[8:]) != freelistPage || n > uint64(len(list))/8 {
		return errors.New("list of free pages: its header is damaged")
	}
	last := uint64(1)
	for ; n > 0; n-- {
		id := order.Uint64(list)
		if id <= last || id >= c.high {
			return fmt.Errorf("list of free pages: %d after %d", id, last)
		}
		last, list = id, list[8:]
	}
	return nil
}

func (c *pageChecker) treePage(id uint64) error {
	page, err := c.load(id)
	if err != nil {
		return err
	}
	return c.elements(page)
}

// elements checks what is on a tree's page and queues the pages below it.
func (c *pageChecker) elements(page []byte) error {
	if len(page) < headerLen {
		return errors.New("it is cut off")
	}
	flags, n := order.Uint16(page[8:]), int(order.Uint16(page[10:]))
	if flags != leafPage && flags != branchPage || headerLen+n*elementLen > len(page) || flags == branchPage && n == 0 {
		return errors.New("its header is damaged")
	}
	var last []byte
	for i := range n {
		start := headerLen + i*elementLen
		e := page[start:]
		var pos, keyLen, valueLen uint32
		if flags == branchPage {
			pos, keyLen = order.Uint32(e), order.Uint32(e[4:])
			c.queue = append(c.queue, order.Uint64(e[8:]))
		} else {
			pos, keyLen, valueLen = order.Uint32(e[4:]), order.Uint32(e[8:]), order.Uint32(e[12:])
		}
		at := uint64(start) + uint64(pos)
		end := at + uint64(keyLen) + uint64(valueLen)
		if keyLen == 0 || end > uint64(len(page)) {
			return fmt.Errorf("element %d is damaged", i)
		}
		key, value := page[at:at+uint64(keyLen)], page[at+uint64(keyLen):end]
		if i > 0 && bytes.Compare(last, key) >= 0 {
			return fmt.Errorf("element %d is out of order", i)
		}
		last = key
		if flags == leafPage && order.Uint32(e)&treeElement != 0 {
			if err := c.tree(value); err != nil {
				return fmt.Errorf("tree %q: %w", key, err)
			}
		}
	}
	return nil
}

// tree checks the reference to a tree. A tiny one has its only page behind it.
func (c *pageChecker) tree(value []byte) error {
	if len(value) < rootRefLen {
		return errors.New("its reference is damaged")
	}
	if root := order.Uint64(value); root != 0 {
		c.queue = append(c.queue, root)
		return nil
	}
	return c.elements(value[rootRefLen:])
}
