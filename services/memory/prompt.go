package memory

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// What memory and skills take of a system prompt, in bytes. The project comes
// first and may leave nothing; what it does not use is for the global entries.
const (
	promptMemory  = 12 << 10
	promptProject = 8 << 10
	promptEntry   = 1 << 10 // of one entry; recall finds the rest
	promptSkills  = 6 << 10
	promptSkill   = 300 // characters of one description
)

// Prompt is what a turn in a project is told of memory and skills. What cannot
// be read is left out.
func (r *Room) Prompt(ctx context.Context, projectID string) (string, error) {
	places, err := r.turnPlaces(ctx, projectID)
	if err != nil {
		return "", err
	}
	var parts []string
	skills, err := r.promptSkills(ctx, places)
	if err != nil {
		return "", err
	}
	if skills != "" {
		parts = append(parts, skills)
	}
	if r.opt.Modes().Memory {
		text, err := r.promptMemory(ctx, places)
		if err != nil {
			return "", err
		}
		if text != "" {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, "\n\n"), nil
}

func (r *Room) promptMemory(ctx context.Context, places []place) (string, error) {
	var b strings.Builder
	left, out, hide := promptMemory, 0, r.veil()
	for _, at := range places {
		list, err := r.entries(ctx, []place{at})
		if err != nil {
			return "", err
		}
		share := left
		if at.project != nil {
			share = min(share, promptProject)
		}
		var lines []string
		for i, e := range list {
			line := remembered(e, hide)
			if len(line) > share {
				out += len(list) - i
				break
			}
			share, left = share-len(line), left-len(line)
			lines = append(lines, line)
		}
		if len(lines) > 0 {
			fmt.Fprintf(&b, "\n\n## %s\n\n%s", map[bool]string{true: "In every project", false: "In this project"}[at.project == nil], strings.Join(lines, ""))
		}
	}
	if b.Len() == 0 {
		return "", nil
	}
	if out > 0 {
		fmt.Fprintf(&b, "\n%d older ones are not shown: recall finds them.\n", out)
	}
	return "# What you remember\n\nFrom earlier conversations, newest first. What the user says now, and what files say now, counts more." + strings.TrimRight(b.String(), "\n"), nil
}

// remembered is an entry as a list item.
func remembered(e entry, hide veil) string {
	text := strings.ReplaceAll(hide.over(e.Text), "\n", "\n  ")
	if len(text) > promptEntry {
		text = clip(text, promptEntry/2)
	}
	if label := headings[e.kind]; label != "" {
		text = label + ": " + text
	} else if e.kind != lesson {
		text = e.kind + ": " + text
	}
	return "- " + text + "\n"
}

func (r *Room) promptSkills(ctx context.Context, places []place) (string, error) {
	var lines []string
	had := map[string]bool{}
	size, out, hide := 0, 0, r.veil()
	for _, at := range places {
		list, _, err := r.skills(ctx, at)
		if err != nil {
			return "", err
		}
		slices.SortFunc(list, func(a, b skill) int { return strings.Compare(a.label, b.label) })
		for _, s := range list {
			if s.problem != "" || had[s.label] {
				continue
			}
			had[s.label] = true
			about := s.Description
			if s.WhenToUse != "" {
				about += " Use it when: " + s.WhenToUse
			}
			line := fmt.Sprintf("- %s: %s\n", s.label, clip(hide.over(about), promptSkill))
			if size+len(line) > promptSkills {
				out++
				continue
			}
			size += len(line)
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return "", nil
	}
	if out > 0 {
		lines = append(lines, fmt.Sprintf("%d more are not shown.\n", out))
	}
	return "# Skills\n\nProcedures for kinds of work. Before you do what one is for, load it with recall_skill and follow it.\n\n" + strings.TrimRight(strings.Join(lines, ""), "\n"), nil
}
