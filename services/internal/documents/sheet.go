package documents

import (
	"encoding/csv"
	"errors"
	"io"
	"strings"

	"github.com/xuri/excelize/v2"
)

const (
	sheetsMax  = 1000
	columnsMax = 2000 // of one row; what is behind is left out
)

// extractSheet reads the sheets of an Excel file one after the other, their
// cells as they are shown, without the empty rows.
func extractSheet(out *writer, src Source, l Limits) (err error) {
	if _, err := openArchive(out.ctx, src, l); err != nil {
		return err
	}
	f, err := excelize.OpenReader(io.NewSectionReader(src.Data, 0, src.Size), excelize.Options{
		// Both the same, so that no part goes to a file of its own.
		UnzipSizeLimit: l.Unpacked, UnzipXMLSizeLimit: l.Unpacked,
		// A date in the format of no country in particular says which day it is.
		ShortDatePattern: "yyyy-mm-dd", LongDatePattern: "yyyy-mm-dd"})
	switch {
	case err != nil && strings.HasPrefix(err.Error(), "unzip size exceeds"):
		return failure(err, reasonHuge, l.Unpacked>>20)
	case err != nil:
		return failure(err, reasonDamaged)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for i, name := range f.GetSheetList() {
		if i == sheetsMax {
			out.full = true
			return nil
		}
		if err := sheet(out, f, name); err != nil {
			return err
		}
	}
	return nil
}

func sheet(out *writer, f *excelize.File, name string) error {
	rows, err := f.Rows(name)
	if err != nil {
		var chart excelize.ErrSheetNotExist
		if errors.As(err, &chart) {
			return nil // a chart has no rows
		}
		return failure(err, reasonDamaged)
	}
	defer rows.Close() //nolint:errcheck // it was only read
	title := "## Sheet: " + name + "\n\n"
	out.paragraph()
	for rows.Next() {
		if err := out.alive(); err != nil {
			return err
		}
		cells, err := rows.Columns()
		if err != nil {
			return failure(err, reasonDamaged)
		}
		line, err := row(cells)
		if err != nil {
			return err
		}
		if line == "" {
			continue
		}
		if err := out.write(title + line); err != nil {
			return err
		}
		title = ""
	}
	if err := rows.Error(); err != nil {
		return failure(err, reasonDamaged)
	}
	return nil
}

// row is a row as a line of CSV; "" if it is empty.
func row(cells []string) (string, error) {
	cells = cells[:min(len(cells), columnsMax)]
	for len(cells) > 0 && strings.TrimSpace(cells[len(cells)-1]) == "" {
		cells = cells[:len(cells)-1]
	}
	if len(cells) == 0 {
		return "", nil
	}
	var line strings.Builder
	w := csv.NewWriter(&line)
	if err := w.Write(cells); err != nil {
		return "", err
	}
	w.Flush()
	return line.String(), w.Error()
}
