;; A command that makes headers. Tests put their own core instructions in place of the marker in $run, with $fields, $copy, $refused
;; and $i, and end it with what it returns: 0 where all is well. They say the same in WASI 0.2 and 0.3: VERSION is which, ASYNC what
;; `run` is, MORE the errors that only 0.3 has, and AT where the number of an error is.
(component
  (import "wasi:http/types@VERSION" (instance $types
    (export "fields" (type $fields (sub resource)))
    (type $error1 (variant (case "invalid-syntax") (case "forbidden") (case "immutable") MORE))
    (export "header-error" (type $error (eq $error1)))
    (export "[constructor]fields" (func (result (own $fields))))
    (export "[method]fields.append" (func (param "self" (borrow $fields)) (param "name" string)
      (param "value" (list u8)) (result (result (error $error)))))
    (export "[method]fields.get" (func (param "self" (borrow $fields)) (param "name" string)
      (result (list (list u8)))))
    (export "[method]fields.delete" (func (param "self" (borrow $fields)) (param "name" string)
      (result (result (error $error)))))
    (export "[method]fields.clone" (func (param "self" (borrow $fields)) (result (own $fields))))))
  (alias export $types "fields" (type $fields))

  ;; Memory: 64.. results, 1024.. names of one letter, 4096.. a value of 96 KiB, 0x20000.. what the host hands over.
  (core module $libc
    (memory (export "memory") 4)
    (data (i32.const 1024) "abcdefghijklmnopqrstuvwxyz")
    (global $top (mut i32) (i32.const 0x20000))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
      (global.set $top (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $libc (instantiate $libc))
  (core func $new (canon lower (func $types "[constructor]fields")))
  (core func $append (canon lower (func $types "[method]fields.append")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $get (canon lower (func $types "[method]fields.get")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $delete (canon lower (func $types "[method]fields.delete")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $clone (canon lower (func $types "[method]fields.clone")))
  (core func $drop (canon resource.drop $fields))

  (core module $main
    (import "libc" "memory" (memory 4))
    (import "host" "new" (func $new (result i32)))
    (import "host" "append" (func $append (param i32 i32 i32 i32 i32 i32)))
    (import "host" "get" (func $get (param i32 i32 i32 i32)))
    (import "host" "delete" (func $delete (param i32 i32 i32 i32)))
    (import "host" "clone" (func $clone (param i32) (result i32)))
    (import "host" "drop" (func $drop (param i32)))
    ;; Appends a header whose name is the $name-th letter, with so many bytes; returns 0, or one more than the error's number.
    (func $add (param $fields i32) (param $name i32) (param $bytes i32) (result i32)
      (call $append (local.get $fields) (i32.add (i32.const 1024) (local.get $name)) (i32.const 1)
        (i32.const 4096) (local.get $bytes) (i32.const 64))
      (if (result i32) (i32.load8_u (i32.const 64))
        (then (i32.add (i32.load8_u (i32.const AT)) (i32.const 1)))
        (else (i32.const 0))))
    ;; How many values the header has whose name is the $name-th letter.
    (func $values (param $fields i32) (param $name i32) (result i32)
      (call $get (local.get $fields) (i32.add (i32.const 1024) (local.get $name)) (i32.const 1) (i32.const 64))
      (i32.load (i32.const 68)))
    (func (export "run") (result i32) (local $fields i32) (local $copy i32) (local $refused i32) (local $i i32)
      (memory.fill (i32.const 4096) (i32.const 97) (i32.const 0x18000))
;;RUN;;
      ))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "new" (func $new)) (export "append" (func $append)) (export "get" (func $get)) (export "delete" (func $delete))
      (export "clone" (func $clone)) (export "drop" (func $drop))))))
  (type $t (func ASYNC(result (result))))
  (func $run (type $t) (canon lift (core func $main "run")))
  (instance $face (export "run" (func $run)))
  (export "wasi:cli/run@VERSION" (instance $face)))
