;; A command of WASI 0.2 that lists its first directory. Tests put their own core instructions in place of the marker, with
;; $directory, $stream and $i; it fails where they call $fail.
(component
  (import "wasi:filesystem/types@0.2.0" (instance $files
    (export "descriptor" (type $d (sub resource)))
    (export "directory-entry-stream" (type $s (sub resource)))
    (type $code1 (enum "access" "would-block" "already" "bad-descriptor" "busy" "deadlock" "quota" "exist" "file-too-large"
      "illegal-byte-sequence" "in-progress" "interrupted" "invalid" "io" "is-directory" "loop" "too-many-links"
      "message-size" "name-too-long" "no-device" "no-entry" "no-lock" "insufficient-memory" "insufficient-space"
      "not-directory" "not-empty" "not-recoverable" "unsupported" "no-tty" "no-such-device" "overflow" "not-permitted"
      "pipe" "read-only" "invalid-seek" "text-file-busy" "cross-device"))
    (export "error-code" (type $code (eq $code1)))
    (type $kind1 (enum "unknown" "block-device" "character-device" "directory" "fifo" "symbolic-link" "regular-file"
      "socket"))
    (export "descriptor-type" (type $kind (eq $kind1)))
    (type $entry1 (record (field "type" $kind) (field "name" string)))
    (export "directory-entry" (type $entry (eq $entry1)))
    (export "[method]descriptor.read-directory"
      (func (param "self" (borrow $d)) (result (result (own $s) (error $code)))))
    (export "[method]directory-entry-stream.read-directory-entry"
      (func (param "self" (borrow $s)) (result (result (option $entry) (error $code)))))))
  (alias export $files "descriptor" (type $descriptor))
  (alias export $files "directory-entry-stream" (type $stream))
  (import "wasi:filesystem/preopens@0.2.0" (instance $preopens
    (alias outer 1 $descriptor (type $d1))
    (export "descriptor" (type $d (eq $d1)))
    (export "get-directories" (func (result (list (tuple (own $d) string)))))))

  ;; Memory: 64.. results, 4096.. what the host hands over.
  (core module $libc
    (memory (export "memory") 16)
    (global $top (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
      (global.set $top (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $libc (instantiate $libc))
  (core func $directories (canon lower (func $preopens "get-directories")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $read-directory (canon lower (func $files "[method]descriptor.read-directory")
    (memory (core memory $libc "memory"))))
  (core func $read-entry (canon lower (func $files "[method]directory-entry-stream.read-directory-entry")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $close (canon resource.drop $stream))

  (core module $main
    (import "libc" "memory" (memory 16))
    (import "host" "directories" (func $directories (param i32)))
    (import "host" "read-directory" (func $read-directory (param i32 i32)))
    (import "host" "read-entry" (func $read-entry (param i32 i32)))
    (import "host" "close" (func $close (param i32)))
    (func $fail (unreachable))
    (func (export "run") (result i32) (local $directory i32) (local $stream i32) (local $i i32)
      (call $directories (i32.const 32))
      (local.set $directory (i32.load (i32.load (i32.const 32))))
;;RUN;;
      (i32.const 0)))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "directories" (func $directories)) (export "read-directory" (func $read-directory))
      (export "read-entry" (func $read-entry)) (export "close" (func $close))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $cli)))
