// Command work is a training job in small, for pods on real nodes. The
// environment says what it does:
//
//	WORK_STEPS               steps in all, those before a checkpoint included; absent: it works without end
//	WORK_STEP_MILLISECONDS   time of a step, 100 when absent
//	WORK_EXIT                exit code after the last step, 0 when absent
//	WORK_ALLOCATE_MIB        memory that it fills before the first step
//	WORK_CHECKPOINT          file of the steps done: read at the start, written when it saves
//	WORK_ON_TERM             what SIGTERM does: "exit" (also when absent), "save" (write the checkpoint and exit) or "ignore"
//	WORK_SAVE_MILLISECONDS   time that saving takes, 0 when absent
//	WORK_TERM_EXIT           exit code after SIGTERM; when absent, 0 after saving and else 143
//	WORK_RENDEZVOUS_PORT     before the first step all pods of the gang meet at its leader, by TCP
//	WORK_RENDEZVOUS_SECONDS  how long they try, 60 when absent
//
// With arguments it is a tool instead, since its image has no shell: see tool.go.
package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

const terminated = 128 + int(syscall.SIGTERM)

func main() {
	if len(os.Args) > 1 {
		os.Exit(tool(os.Args[1], os.Args[2:]))
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	say("attempt %s, pod %s of %s, devices %q", os.Getenv("ROTA_JOB_ATTEMPT"), os.Getenv("ROTA_JOB_INDEX"),
		os.Getenv("ROTA_JOB_SIZE"), os.Getenv("NVIDIA_VISIBLE_DEVICES"))
	begun := make(chan error, 1)
	go func() { begun <- prepare() }()
	select {
	case err := <-begun:
		if err != nil {
			say("%v", err)
			os.Exit(1)
		}
	case received := <-signals:
		say("received %s before the first step", received)
		os.Exit(number("WORK_TERM_EXIT", terminated))
	}
	os.Exit(work(restore(), signals))
}

func prepare() error {
	allocate(number("WORK_ALLOCATE_MIB", 0))
	if port := os.Getenv("WORK_RENDEZVOUS_PORT"); port != "" {
		return rendezvous(port)
	}
	return nil
}

var allocated [][]byte

func allocate(mebibytes int) {
	if mebibytes == 0 {
		return
	}
	say("allocates %d MiB", mebibytes)
	for range mebibytes {
		block := make([]byte, 1<<20)
		for i := range block {
			block[i] = byte(i) // memory that is not written is not used
		}
		allocated = append(allocated, block)
	}
	say("has allocated %d MiB", mebibytes)
}

// work does the steps from this one on, and returns the exit code.
func work(step int, signals <-chan os.Signal) int {
	steps := number("WORK_STEPS", -1)
	pause := time.Duration(number("WORK_STEP_MILLISECONDS", 100)) * time.Millisecond
	for ; steps < 0 || step < steps; step++ {
		select {
		case received := <-signals:
			say("received %s at step %d", received, step)
			if code, ends := end(step); ends {
				return code
			}
		case <-time.After(pause):
			compute(step)
		}
	}
	code := number("WORK_EXIT", 0)
	say("done after %d steps, exit code %d", step, code)
	return code
}

func compute(step int) {
	sum := sha256.Sum256([]byte(strconv.Itoa(step)))
	for range 1_000 {
		sum = sha256.Sum256(sum[:])
	}
}

// end does what SIGTERM asks for; it says whether that is the end.
func end(step int) (code int, ends bool) {
	switch os.Getenv("WORK_ON_TERM") {
	case "ignore":
		return 0, false
	case "save":
		time.Sleep(time.Duration(number("WORK_SAVE_MILLISECONDS", 0)) * time.Millisecond)
		if err := save(step); err != nil {
			say("cannot save: %v", err)
			return 1, true
		}
		return number("WORK_TERM_EXIT", 0), true
	default:
		return number("WORK_TERM_EXIT", terminated), true
	}
}

func save(step int) error {
	file := os.Getenv("WORK_CHECKPOINT")
	if err := os.WriteFile(file, []byte(strconv.Itoa(step)), 0o666); err != nil {
		return err
	}
	say("saved step %d", step)
	return nil
}

// restore returns the step to go on with.
func restore() int {
	content, err := os.ReadFile(os.Getenv("WORK_CHECKPOINT"))
	if err != nil {
		return 0
	}
	step, _ := strconv.Atoi(string(content))
	say("resumes at step %d", step)
	return step
}

func number(variable string, absent int) int {
	if value, err := strconv.Atoi(os.Getenv(variable)); err == nil {
		return value
	}
	return absent
}

func say(format string, values ...any) {
	fmt.Printf("%s %s\n", time.Now().UTC().Format("15:04:05.000"), fmt.Sprintf(format, values...))
}
