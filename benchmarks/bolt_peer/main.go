// Command bolt_peer is bbolt's own view of a file: it checks, digests, changes, or writes one.
//
//	bolt_peer check FILE                               open read-only, run Tx.Check, walk everything
//	bolt_peer touch FILE                               change every top-level bucket and some below it, then check
//	bolt_peer write FILE TOP PACKAGES ENTRIES SIZE     the entries of benchmarks/bolt_write.py, one Batch a top bucket
//
// The answer is one JSON object on standard output.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"os"
	"strconv"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
)

type report struct {
	PageSize int      `json:"pageSize"`
	Buckets  int      `json:"buckets"`
	Entries  int      `json:"entries"`
	Digest   string   `json:"digest"`
	Problems []string `json:"problems"`
}

type timing struct {
	Wall    float64 `json:"wall"`
	CPU     float64 `json:"cpu"`
	Bytes   int64   `json:"bytes"`
	PeakRSS int64   `json:"peakRss"`
	Growth  int64   `json:"growth"`
}

type entry struct{ key, value []byte }

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bolt_peer:", err)
		os.Exit(1)
	}
}

func put(sum hash.Hash, mark string, parts ...[]byte) {
	sum.Write([]byte(mark))
	for _, part := range parts {
		var size [4]byte
		binary.LittleEndian.PutUint32(size[:], uint32(len(part)))
		sum.Write(size[:])
		sum.Write(part)
	}
}

// walk adds a bucket's content to the digest: "B" name … "E" for a bucket, "K" key value for an entry.
func walk(bucket *bolt.Bucket, sum hash.Hash, out *report) error {
	return bucket.ForEach(func(key, value []byte) error {
		if value != nil {
			out.Entries++
			put(sum, "K", key, value)
			return nil
		}
		out.Buckets++
		put(sum, "B", key)
		if err := walk(bucket.Bucket(key), sum, out); err != nil {
			return err
		}
		put(sum, "E")
		return nil
	})
}

func inspect(path string) report {
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	must(err)
	defer db.Close()
	out := report{PageSize: db.Info().PageSize, Problems: []string{}}
	must(db.View(func(tx *bolt.Tx) error {
		for problem := range tx.Check() {
			out.Problems = append(out.Problems, problem.Error())
		}
		sum := sha256.New()
		err := walk(tx.Cursor().Bucket(), sum, &out)
		out.Digest = hex.EncodeToString(sum.Sum(nil))
		return err
	}))
	return out
}

// touch adds a key and a bucket at each top-level bucket's first and last sub-buckets, deletes a key there, and
// adds a new top-level bucket, over several transactions.
func touch(path string) {
	db, err := bolt.Open(path, 0o600, nil)
	must(err)
	var names [][]byte
	must(db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, _ *bolt.Bucket) error {
			names = append(names, append([]byte{}, name...))
			return nil
		})
	}))
	for _, name := range names {
		must(db.Update(func(tx *bolt.Tx) error { return change(tx.Bucket(name)) }))
	}
	must(db.Update(func(tx *bolt.Tx) error {
		bucket, err := tx.CreateBucket([]byte("~ a bucket of the peer"))
		if err != nil {
			return err
		}
		return bucket.Put([]byte("key"), bytes.Repeat([]byte("v"), 10000))
	}))
	must(db.Close())
}

func change(bucket *bolt.Bucket) error {
	cursor := bucket.Cursor()
	first, value := cursor.First()
	if first == nil || value != nil {
		if first != nil {
			if err := bucket.Delete(append([]byte{}, first...)); err != nil {
				return err
			}
		}
		return bucket.Put([]byte("~ a key of the peer"), []byte("value"))
	}
	last, _ := cursor.Last()
	for _, name := range [][]byte{append([]byte{}, first...), append([]byte{}, last...)} {
		if err := change(bucket.Bucket(name)); err != nil {
			return err
		}
	}
	_, err := bucket.CreateBucketIfNotExists([]byte("~ another bucket of the peer"))
	return err
}

func makeEntries(top, packages, entries, size int) [][][]entry {
	all := make([][][]entry, top)
	for b := range all {
		all[b] = make([][]entry, packages)
		for p := range all[b] {
			list := make([]entry, entries)
			for i := range list {
				value := fmt.Sprintf(`{"FixedVersion":"%d.%d.%d","Title":"`, b, p, i)
				value += string(bytes.Repeat([]byte("x"), size-len(value)-2)) + `"}`
				list[i] = entry{[]byte(fmt.Sprintf("CVE-2024-%07d", i)), []byte(value)}
			}
			all[b][p] = list
		}
	}
	return all
}

func used() (float64, int64) {
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(usage.Utime) + seconds(usage.Stime), usage.Maxrss * 1024
}

func write(path string, all [][][]entry) timing {
	cpu, rss := used()
	start := time.Now()
	db, err := bolt.Open(path, 0o600, nil)
	must(err)
	db.MaxBatchSize = 1 // a single caller: do not wait for company
	for b, packages := range all {
		must(db.Batch(func(tx *bolt.Tx) error {
			top, err := tx.CreateBucketIfNotExists([]byte(fmt.Sprintf("distribution %03d", b)))
			if err != nil {
				return err
			}
			for p, list := range packages {
				bucket, err := top.CreateBucketIfNotExists([]byte(fmt.Sprintf("package-%05d", p)))
				if err != nil {
					return err
				}
				for _, item := range list {
					if err := bucket.Put(item.key, item.value); err != nil {
						return err
					}
				}
			}
			return nil
		}))
	}
	must(db.Close())
	wall := time.Since(start).Seconds()
	cpuEnd, rssEnd := used()
	info, err := os.Stat(path)
	must(err)
	return timing{wall, cpuEnd - cpu, info.Size(), rssEnd, rssEnd - rss}
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	must(err)
	return value
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: bolt_peer check|touch|write FILE [TOP PACKAGES ENTRIES SIZE]")
		os.Exit(2)
	}
	answer := json.NewEncoder(os.Stdout)
	switch path := os.Args[2]; {
	case os.Args[1] == "check":
		must(answer.Encode(inspect(path)))
	case os.Args[1] == "touch":
		touch(path)
		must(answer.Encode(inspect(path)))
	case os.Args[1] == "write" && len(os.Args) == 7:
		a := os.Args[3:]
		must(answer.Encode(write(path, makeEntries(number(a[0]), number(a[1]), number(a[2]), number(a[3])))))
	default:
		os.Exit(2)
	}
}
