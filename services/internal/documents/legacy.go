package documents

import (
	"bytes"
	"errors"
	"io"
)

// extractLegacy says what people can do about an Office file that is not one of
// today's: encrypted ones come in the container that old ones had.
func extractLegacy(_ *writer, src Source, _ Limits) error {
	encrypted, err := holds(src, []byte("E\x00n\x00c\x00r\x00y\x00p\x00t\x00e\x00d\x00P\x00a\x00c\x00k\x00a\x00g\x00e\x00"))
	switch {
	case err != nil:
		return err
	case encrypted:
		return failure(nil, reasonLocked)
	}
	return failure(nil, "The file has an old Office format: save it as .docx, .xlsx or .pptx and attach it again.")
}

// holds says whether a file has these bytes somewhere.
func holds(src Source, want []byte) (bool, error) {
	buf := make([]byte, 64<<10)
	kept := 0
	for at := int64(0); at < src.Size; {
		n, err := src.Data.ReadAt(buf[kept:], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		if n == 0 {
			return false, nil
		}
		at += int64(n)
		seen := buf[:kept+n]
		if bytes.Contains(seen, want) {
			return true, nil
		}
		kept = copy(buf, seen[max(0, len(seen)-len(want)+1):])
	}
	return false, nil
}
