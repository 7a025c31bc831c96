// Sample is the application, the extension and the sandbox holder of the tests on real kubelets, in one program.
//
//	sample             serve HTTP on $PORT: /, /healthz, /started, /hold?mib=N
//	sample note WORD   append the word to the journal in $DATA (for hooks)
//	sample pause       hold a pod's namespaces
//
// $FAULT, which the image's layer of settings brings, says how this version is broken: never-ready, never-started, crash
// or slow. With $DATA it keeps a journal on the data disk: what started, what was asked to end, what ended.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

var version, fault = os.Getenv("VERSION"), os.Getenv("FAULT")

func main() {
	switch {
	case len(os.Args) > 2 && os.Args[1] == "note":
		note(os.Args[2])
	case len(os.Args) > 1 && os.Args[1] == "pause":
		pause()
	default:
		serve()
	}
}

func serve() {
	note("start")
	if fault == "crash" {
		log.Fatalf("version %s is made to crash", version)
	}
	begun, held := time.Now(), [][]byte{}
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, version) })
	http.HandleFunc("/started", answer(func() bool { return fault != "never-started" }))
	healthy := answer(func() bool { return fault != "never-ready" && (fault != "slow" || time.Since(begun) > 5*time.Second) })
	for _, path := range []string{"/healthz", "/health", "/ready"} { // the examples ask one or another
		http.HandleFunc(path, healthy)
	}
	http.HandleFunc("/hold", func(w http.ResponseWriter, r *http.Request) {
		mib, _ := strconv.Atoi(r.FormValue("mib"))
		block := make([]byte, mib<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1 // or the kernel gives no memory
		}
		held = append(held, block)
		fmt.Fprintln(w, len(held))
	})
	go func() {
		ended := make(chan os.Signal, 1)
		signal.Notify(ended, syscall.SIGTERM)
		<-ended
		note("asked to end")
		linger, _ := time.ParseDuration(os.Getenv("LINGER"))
		time.Sleep(linger)
		note("end")
		os.Exit(0)
	}()
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	log.Printf("version %s on port %s", version, port)
	log.Fatal(http.ListenAndServe(":"+port, nil))
}

func answer(good func() bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if !good() {
			http.Error(w, "no", http.StatusServiceUnavailable)
		}
	}
}

func note(word string) {
	data := os.Getenv("DATA")
	if data == "" {
		return
	}
	journal, err := os.OpenFile(filepath.Join(data, "journal"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		log.Fatal(err)
	}
	defer journal.Close()
	fmt.Fprintln(journal, word, version)
}

func pause() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for pid := 1; pid > 0; { // whoever is left to the first process of a shared pid namespace
			pid, _ = syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		}
	}
}
