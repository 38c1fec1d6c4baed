// A client as most Go programs are one: net/http with its defaults, and Go's own resolver.
//
// Each line of standard input is a number of requests and the addresses to take turns with; each line of output is how
// many were answered, and the last answer or what went wrong.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
)

func get(url string) (string, error) {
	response, err := http.Get(url)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	// The next request makes a connection of its own.
	http.DefaultClient.CloseIdleConnections()
	return strings.TrimSpace(string(body)), err
}

func word(err error) string {
	var lookup *net.DNSError
	switch {
	case errors.As(err, &lookup):
		return "no-address"
	case errors.Is(err, syscall.EPERM):
		return "EPERM"
	}
	return "failed"
}

func main() {
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		words := strings.Fields(orders.Text())
		count, _ := strconv.Atoi(words[0])
		urls := words[1:]
		done, said := 0, ""
		for ; done < count; done++ {
			body, err := get(urls[done%len(urls)])
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				said = word(err)
				break
			}
			said = body
		}
		fmt.Println(done, said)
	}
}
