package agents

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
)

// TestMain lets the test binary be a program in a terminal.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "fake-program" {
		fakeProgram(os.Args[2])
	}
	os.Exit(m.Run())
}

// fakeProgram draws what it is told over a socket, and tells of each read of its input.
func fakeProgram(socket string) {
	stty := exec.Command("stty", "raw", "-echo")
	stty.Stdin = os.Stdin
	if err := stty.Run(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	c, err := net.Dial("unix", socket)
	if err != nil {
		os.Exit(1)
	}
	go func() {
		buf := make([]byte, 8<<10)
		for {
			n, err := os.Stdin.Read(buf)
			if err != nil {
				os.Exit(0)
			}
			line, _ := json.Marshal(string(buf[:n]))
			_, _ = c.Write(append(line, '\n'))
		}
	}()
	in := bufio.NewScanner(c)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var text string
		if json.Unmarshal(in.Bytes(), &text) == nil {
			fmt.Print(text)
		}
	}
	os.Exit(0)
}
