// Milvus's SDK for Go on a Redkite server.
//
//	go run ./v2 HOST:PORT [USER PASSWORD CERTIFICATE]
//
// Each step asserts values. The program prints "ok" and exits with 0 only when all of them hold.
package main

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/milvus-io/milvus/client/v2/milvusclient"
)

var (
	ctx    context.Context
	client *milvusclient.Client
	failed int
)

// step runs one part of the round; one that fails lets the others run.
func step(name string, work func()) {
	defer func() {
		if found := recover(); found != nil {
			failed++
			fmt.Fprintf(os.Stderr, "FAILED %s: %v\n", name, found)
		}
	}()
	work()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func value[T any](found T, err error) T {
	must(err)
	return found
}

func check(ok bool, format string, args ...any) {
	if !ok {
		panic(fmt.Sprintf(format, args...))
	}
}

func same(what string, found, wanted any) {
	check(reflect.DeepEqual(found, wanted), "%s: %v, not %v", what, found, wanted)
}

func contains[T comparable](what string, found []T, wanted T) {
	check(slices.Contains(found, wanted), "%s: %v has no %v", what, found, wanted)
}

func refused(what string, err error, words string) {
	check(err != nil && strings.Contains(err.Error(), words), "%s: %v says nothing of %q", what, err, words)
}

func configOf(user, password string) *milvusclient.ClientConfig {
	config := &milvusclient.ClientConfig{Address: os.Args[1], Username: user, Password: password}
	if len(os.Args) > 4 {
		must(os.Setenv("SSL_CERT_FILE", os.Args[4])) // the certificates this SDK trusts are the system's
		config.Address, config.EnableTLSAuth = "https://"+os.Args[1], true
	}
	return config
}

func connect(database string) *milvusclient.Client {
	config := configOf("", "")
	if len(os.Args) > 3 {
		config = configOf(os.Args[2], os.Args[3])
	}
	config.DBName = database
	return value(milvusclient.New(ctx, config))
}

func main() {
	var cancel context.CancelFunc
	ctx, cancel = context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	client = connect("")
	everyType()
	reads()
	iterators()
	writes()
	fullText()
	definitions()
	databases()
	rights()
	upkeep()
	load()
	must(client.Close(ctx))
	if failed > 0 {
		os.Exit(1)
	}
	fmt.Println("ok")
}
