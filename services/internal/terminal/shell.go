package terminal

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
)

//go:embed shells
var shellFiles embed.FS

// writeShells puts what shells read at their start into dir, and leaves
// what is right already alone.
func writeShells(dir string) error {
	for _, f := range [][2]string{{"bash.sh", "bash.sh"}, {"fish.fish", "fish.fish"},
		{"zshenv", "zsh/.zshenv"}, {"zprofile", "zsh/.zprofile"}, {"zshrc", "zsh/.zshrc"}, {"zlogin", "zsh/.zlogin"}} {
		data, err := shellFiles.ReadFile("shells/" + f[0])
		if err != nil {
			return fmt.Errorf("terminal: shell integration: %w", err)
		}
		path := filepath.Join(dir, f[1])
		if old, err := os.ReadFile(path); err == nil && string(old) == string(data) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("terminal: shell integration: %w", err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return fmt.Errorf("terminal: shell integration: %w", err)
		}
	}
	return nil
}

// shellCommand returns how to start a shell such that it tells its commands, and
// the variables that it needs. Other shells start as they are.
func shellCommand(shell, dir string, environ []string) (argv []string, env map[string]string) {
	switch filepath.Base(shell) {
	case "bash":
		return []string{shell, "--rcfile", filepath.Join(dir, "bash.sh"), "-i"}, nil
	case "zsh":
		zsh := filepath.Join(dir, "zsh")
		return []string{shell, "-i"}, map[string]string{"ZDOTDIR": zsh, "ANTHILL_ZSH": zsh, "ANTHILL_ZDOTDIR": lookup(environ, "ZDOTDIR")}
	case "fish":
		return []string{shell, "-i", "-C", "source " + fishQuote(filepath.Join(dir, "fish.fish"))}, nil
	}
	return []string{shell, "-i"}, nil
}

// fishQuote makes one word of s for fish.
func fishQuote(s string) string {
	out := []byte{'\''}
	for i := range len(s) {
		if s[i] == '\'' || s[i] == '\\' {
			out = append(out, '\\')
		}
		out = append(out, s[i])
	}
	return string(append(out, '\''))
}

// userShell is the shell of the user, or one that every machine has.
func userShell(environ []string) string {
	for _, shell := range []string{lookup(environ, "SHELL"), "/bin/bash"} {
		if info, err := os.Stat(shell); err == nil && filepath.IsAbs(shell) && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return shell
		}
	}
	return "/bin/sh"
}
