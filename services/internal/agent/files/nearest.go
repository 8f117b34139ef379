package files

import (
	"cmp"
	"path"
	"slices"
	"strings"
)

// Nearest returns up to most of the names that may have been meant by name, the
// likeliest first: the same file name in another folder, the same up to case or
// extension, then those that differ in few letters. It returns none if nothing
// is near.
func Nearest(name string, names []string, most int) []string {
	type scored struct {
		name string
		far  int
	}
	var found []scored
	for _, n := range names {
		if far, near := distance(name, n); near {
			found = append(found, scored{n, far})
		}
	}
	slices.SortStableFunc(found, func(a, b scored) int {
		return cmp.Or(cmp.Compare(a.far, b.far), cmp.Compare(len(a.name), len(b.name)), cmp.Compare(a.name, b.name))
	})
	out := make([]string, 0, most)
	for _, f := range found[:min(most, len(found))] {
		out = append(out, f.name)
	}
	return out
}

// Same reports whether name may well mean the file: the two differ only in
// case, in the folder, or in an extension that name does not have.
func Same(name, file string) bool {
	far, near := distance(name, file)
	return near && far < 4
}

func distance(name, file string) (far int, near bool) {
	name, file = strings.ToLower(name), strings.ToLower(file)
	a, b := path.Base(name), path.Base(file)
	stem := strings.TrimSuffix(b, path.Ext(b))
	switch {
	case name == file:
		return 0, true
	case a == b:
		return 1, true
	case a == stem:
		return 2, true
	case strings.TrimSuffix(a, path.Ext(a)) == stem && stem != "":
		return 4, true
	}
	d := edits(a, b)
	return 4 + d, d <= 1+len(a)/4
}

// edits is the number of letters to insert, delete or change to get from a to b.
func edits(a, b string) int {
	s, t := []rune(a), []rune(b)
	row := make([]int, len(t)+1)
	for j := range row {
		row[j] = j
	}
	for i, r := range s {
		diagonal := row[0]
		row[0] = i + 1
		for j, q := range t {
			change := diagonal
			if r != q {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, diagonal+1, row[j]+1)
		}
	}
	return row[len(t)]
}
