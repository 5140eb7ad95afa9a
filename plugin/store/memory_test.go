package store_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/store"
)

// countLiveBytes returns what the process holds.
func countLiveBytes() float64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// BenchmarkIndex is the index with 100,000 open requests of 50 people: its memory after they were made one by one and
// after it was read from the storage, and the time of a list through all of them.
func BenchmarkIndex(b *testing.B) {
	const volume, people = 100_000, 50
	ctx := context.Background()
	d := &disk{}
	made := store.New[config]()
	listOpen(ctx, b, made, d)
	var requests []approval.Request
	for i := range volume {
		r := newRequest(b, fmt.Sprint(i%people), start.Add(time.Duration(i)*time.Second))
		if i%4 == 0 { // some are half approved
			r = apply(b, r, start.Add(time.Duration(i)*time.Second), approve("bob", r))
		}
		requests = append(requests, r)
	}
	save(ctx, b, store.New[config](), d, requests...)
	before := countLiveBytes()
	save(ctx, b, made, nowhere{d}, requests...)
	ofMade := (countLiveBytes() - before) / volume
	runtime.KeepAlive(made)
	runtime.KeepAlive(requests)

	d.calls = nil
	clear(requests)
	before = countLiveBytes()
	read := store.New[config]()
	began := time.Now()
	listOpen(ctx, b, read, d)
	loading := time.Since(began)
	d.calls = nil
	ofRead := (countLiveBytes() - before) / volume
	for b.Loop() {
		_, err := read.Requests.List(ctx, d, "", 0, func(approval.Listing) bool { return false })
		must(b, err)
	}
	b.ReportMetric(ofMade, "made-B/request")
	b.ReportMetric(ofRead, "read-B/request")
	b.ReportMetric(loading.Seconds(), "s/load")
	runtime.KeepAlive(d)
}
