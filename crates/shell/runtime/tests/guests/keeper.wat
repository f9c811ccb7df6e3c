;; A wasi:cli component that keeps values. Tests put what it does in place of the marker; it ends well when that leaves 0.
(component
  (import "wasi:keyvalue/store@0.2.0-draft2" (instance $store
    (export "bucket" (type $b (sub resource)))
    (type $e1 (variant (case "no-such-store") (case "access-denied") (case "other" string)))
    (export "error" (type $e (eq $e1)))
    (type $k1 (record (field "keys" (list string)) (field "cursor" (option string))))
    (export "key-response" (type $k (eq $k1)))
    (export "open" (func (param "identifier" string) (result (result (own $b) (error $e)))))
    (export "[method]bucket.get"
      (func (param "self" (borrow $b)) (param "key" string) (result (result (option (list u8)) (error $e)))))
    (export "[method]bucket.set"
      (func (param "self" (borrow $b)) (param "key" string) (param "value" (list u8)) (result (result (error $e)))))
    (export "[method]bucket.delete" (func (param "self" (borrow $b)) (param "key" string) (result (result (error $e)))))
    (export "[method]bucket.exists"
      (func (param "self" (borrow $b)) (param "key" string) (result (result bool (error $e)))))
    (export "[method]bucket.list-keys"
      (func (param "self" (borrow $b)) (param "cursor" (option string)) (result (result $k (error $e)))))))
  (alias export $store "bucket" (type $bucket))
  (alias export $store "error" (type $error))
  (import "wasi:keyvalue/atomics@0.2.0-draft2" (instance $atomics
    (alias outer 1 $bucket (type $b1))
    (export "bucket" (type $b (eq $b1)))
    (alias outer 1 $error (type $e1))
    (export "error" (type $e (eq $e1)))
    (export "cas" (type $cas (sub resource)))
    (type $c1 (variant (case "store-error" $e) (case "cas-failed" (own $cas))))
    (export "cas-error" (type $c (eq $c1)))
    (export "increment"
      (func (param "bucket" (borrow $b)) (param "key" string) (param "delta" s64) (result (result s64 (error $e)))))
    (export "[static]cas.new"
      (func (param "bucket" (borrow $b)) (param "key" string) (result (result (own $cas) (error $e)))))
    (export "[method]cas.current" (func (param "self" (borrow $cas)) (result (result (option (list u8)) (error $e)))))
    (export "swap" (func (param "cas" (own $cas)) (param "value" (list u8)) (result (result (error $c)))))))
  (import "wasi:keyvalue/batch@0.2.0-draft2" (instance $batch
    (alias outer 1 $bucket (type $b1))
    (export "bucket" (type $b (eq $b1)))
    (alias outer 1 $error (type $e1))
    (export "error" (type $e (eq $e1)))
    (export "get-many" (func (param "bucket" (borrow $b)) (param "keys" (list string))
      (result (result (list (tuple string (option (list u8)))) (error $e)))))
    (export "set-many" (func (param "bucket" (borrow $b)) (param "key-values" (list (tuple string (list u8))))
      (result (result (error $e)))))
    (export "delete-many"
      (func (param "bucket" (borrow $b)) (param "keys" (list string)) (result (result (error $e)))))))
  (import "wasi:config/store@0.2.0-rc.1" (instance $config
    (type $e1 (variant (case "upstream" string) (case "io" string)))
    (export "error" (type $e (eq $e1)))
    (export "get" (func (param "key" string) (result (result (option string) (error $e)))))
    (export "get-all" (func (result (result (list (tuple string string)) (error $e)))))))

  ;; Memory: 0..1024 return areas, 1024..2048 constants, 4096.. what the host hands over, piece after piece.
  (core module $libc
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (local.get 3)))))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
  (core func $open (canon lower (func $store "open") (memory $memory) (realloc $realloc)))
  (core func $get (canon lower (func $store "[method]bucket.get") (memory $memory) (realloc $realloc)))
  (core func $set (canon lower (func $store "[method]bucket.set") (memory $memory) (realloc $realloc)))
  (core func $delete (canon lower (func $store "[method]bucket.delete") (memory $memory) (realloc $realloc)))
  (core func $list (canon lower (func $store "[method]bucket.list-keys") (memory $memory) (realloc $realloc)))
  (core func $add (canon lower (func $atomics "increment") (memory $memory) (realloc $realloc)))
  (core func $cas (canon lower (func $atomics "[static]cas.new") (memory $memory) (realloc $realloc)))
  (core func $current (canon lower (func $atomics "[method]cas.current") (memory $memory) (realloc $realloc)))
  (core func $swap (canon lower (func $atomics "swap") (memory $memory) (realloc $realloc)))
  (core func $get-many (canon lower (func $batch "get-many") (memory $memory) (realloc $realloc)))
  (core func $config (canon lower (func $config "get") (memory $memory) (realloc $realloc)))
  (core func $config-all (canon lower (func $config "get-all") (memory $memory) (realloc $realloc)))

  (core module $main
    (import "libc" "memory" (memory 1))
    (import "host" "open" (func $open (param i32 i32 i32)))
    (import "host" "get" (func $get (param i32 i32 i32 i32)))
    (import "host" "set" (func $set (param i32 i32 i32 i32 i32 i32)))
    (import "host" "delete" (func $delete (param i32 i32 i32 i32)))
    (import "host" "list" (func $list (param i32 i32 i32 i32 i32)))
    (import "host" "add" (func $add (param i32 i32 i32 i64 i32)))
    (import "host" "cas" (func $cas (param i32 i32 i32 i32)))
    (import "host" "current" (func $current (param i32 i32)))
    (import "host" "swap" (func $swap (param i32 i32 i32 i32)))
    (import "host" "get-many" (func $get-many (param i32 i32 i32 i32)))
    (import "host" "config" (func $config (param i32 i32 i32)))
    (import "host" "config-all" (func $config-all (param i32)))
    (data (i32.const 1024) "default")
    (data (i32.const 1040) "first")
    (data (i32.const 1056) "second")
    (data (i32.const 1072) "greeting")
    ;; Two keys: "first", "second".
    (data (i32.const 1104) "\10\04\00\00\05\00\00\00\20\04\00\00\06\00\00\00")
    (func $default (result i32)
      (call $open (i32.const 1024) (i32.const 7) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then (unreachable)))
      (i32.load (i32.const 4)))
    (func (export "run") (result i32) (local $bucket i32) (local $cas i32)
;;RUN;;
    ))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "open" (func $open)) (export "get" (func $get)) (export "set" (func $set))
      (export "delete" (func $delete)) (export "list" (func $list)) (export "add" (func $add))
      (export "cas" (func $cas)) (export "current" (func $current)) (export "swap" (func $swap))
      (export "get-many" (func $get-many)) (export "config" (func $config))
      (export "config-all" (func $config-all))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))
