;; A command of WASI 0.3 that has many calls under way. Tests put their own core instructions in place of the marker in $run, with
;; $i and $status, and end it with $exit.
(component
  (import "wasi:cli/exit@0.3.0" (instance $exit (export "exit" (func (param "status" (result))))))
  (import "wasi:filesystem/types@0.3.0" (instance $files
    (export "descriptor" (type $d (sub resource)))
    (type $code1 (variant (case "access") (case "already") (case "bad-descriptor") (case "busy") (case "deadlock")
      (case "quota") (case "exist") (case "file-too-large") (case "illegal-byte-sequence") (case "in-progress")
      (case "interrupted") (case "invalid") (case "io") (case "is-directory") (case "loop") (case "too-many-links")
      (case "message-size") (case "name-too-long") (case "no-device") (case "no-entry") (case "no-lock")
      (case "insufficient-memory") (case "insufficient-space") (case "not-directory") (case "not-empty")
      (case "not-recoverable") (case "unsupported") (case "no-tty") (case "no-such-device") (case "overflow")
      (case "not-permitted") (case "pipe") (case "read-only") (case "invalid-seek") (case "text-file-busy")
      (case "cross-device") (case "other" (option string))))
    (export "error-code" (type $code (eq $code1)))
    (export "[method]descriptor.create-directory-at"
      (func async (param "self" (borrow $d)) (param "path" string) (result (result (error $code)))))))
  (alias export $files "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.3.0" (instance $preopens
    (alias outer 1 $descriptor (type $d1))
    (export "descriptor" (type $d (eq $d1)))
    (export "get-directories" (func (result (list (tuple (own $d) string)))))))
  (import "wasi:sockets/types@0.3.0" (instance $sockets
    (type $code1 (variant (case "access-denied") (case "not-supported") (case "invalid-argument") (case "out-of-memory")
      (case "timeout") (case "invalid-state") (case "address-not-bindable") (case "address-in-use")
      (case "remote-unreachable") (case "connection-refused") (case "connection-broken") (case "connection-reset")
      (case "connection-aborted") (case "datagram-too-large") (case "other" (option string))))
    (export "error-code" (type $code (eq $code1)))
    (type $family1 (enum "ipv4" "ipv6"))
    (export "ip-address-family" (type $family (eq $family1)))
    (type $v4a (tuple u8 u8 u8 u8))
    (export "ipv4-address" (type $v4 (eq $v4a)))
    (type $v6a (tuple u16 u16 u16 u16 u16 u16 u16 u16))
    (export "ipv6-address" (type $v6 (eq $v6a)))
    (type $v4s1 (record (field "port" u16) (field "address" $v4)))
    (export "ipv4-socket-address" (type $v4s (eq $v4s1)))
    (type $v6s1 (record (field "port" u16) (field "flow-info" u32) (field "address" $v6) (field "scope-id" u32)))
    (export "ipv6-socket-address" (type $v6s (eq $v6s1)))
    (type $address1 (variant (case "ipv4" $v4s) (case "ipv6" $v6s)))
    (export "ip-socket-address" (type $address (eq $address1)))
    (export "udp-socket" (type $udp (sub resource)))
    (export "[static]udp-socket.create"
      (func (param "address-family" $family) (result (result (own $udp) (error $code)))))
    (export "[method]udp-socket.bind"
      (func (param "self" (borrow $udp)) (param "local-address" $address) (result (result (error $code)))))
    (export "[method]udp-socket.receive"
      (func async (param "self" (borrow $udp)) (result (result (tuple (list u8) $address) (error $code)))))))
  (import "wasi:sockets/ip-name-lookup@0.3.0" (instance $lookup
    (type $v4a (tuple u8 u8 u8 u8))
    (type $v6a (tuple u16 u16 u16 u16 u16 u16 u16 u16))
    (type $ip1 (variant (case "ipv4" $v4a) (case "ipv6" $v6a)))
    (export "ip-address" (type $ip (eq $ip1)))
    (type $code1 (variant (case "access-denied") (case "invalid-argument") (case "name-unresolvable")
      (case "temporary-resolver-failure") (case "permanent-resolver-failure") (case "other" (option string))))
    (export "error-code" (type $code (eq $code1)))
    (export "resolve-addresses"
      (func async (param "name" string) (result (result (list $ip) (error $code)))))))

  ;; Memory: 64.. results, 4096.. what the host hands over, 1 MiB.. a text of 4 MiB.
  (core module $libc
    (memory (export "memory") 80)
    (global $top (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
      (global.set $top (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $libc (instantiate $libc))
  (core func $exit (canon lower (func $exit "exit")))
  (core func $directories (canon lower (func $preopens "get-directories")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $create-directory (canon lower (func $files "[method]descriptor.create-directory-at") async
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $socket (canon lower (func $sockets "[static]udp-socket.create")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $bind (canon lower (func $sockets "[method]udp-socket.bind")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $receive (canon lower (func $sockets "[method]udp-socket.receive") async
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $resolve (canon lower (func $lookup "resolve-addresses") async
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))

  (core module $main
    (import "libc" "memory" (memory 80))
    (import "host" "exit" (func $exit (param i32)))
    (import "host" "directories" (func $directories (param i32)))
    (import "host" "create-directory" (func $create-directory (param i32 i32 i32 i32) (result i32)))
    (import "host" "socket" (func $socket (param i32 i32)))
    (import "host" "bind"
      (func $bind (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "host" "receive" (func $receive (param i32 i32) (result i32)))
    (import "host" "resolve" (func $resolve (param i32 i32 i32) (result i32)))
    ;; Whether a call has returned the error $code, where the result is one.
    (func $refused (param $status i32) (param $at i32) (param $code i32) (result i32)
      (i32.and (i32.eq (local.get $status) (i32.const 2))
        (i32.and (i32.eq (i32.load8_u (i32.const 64)) (i32.const 1))
          (i32.eq (i32.load8_u (local.get $at)) (local.get $code)))))
    (func (export "run") (result i32) (local $i i32) (local $status i32)
      (memory.fill (i32.const 0x100000) (i32.const 97) (i32.const 0x400000))
;;RUN;;
      (i32.const 1)))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "exit" (func $exit)) (export "directories" (func $directories))
      (export "create-directory" (func $create-directory)) (export "socket" (func $socket))
      (export "bind" (func $bind)) (export "receive" (func $receive)) (export "resolve" (func $resolve))))))
  (type $t (func async (result (result))))
  (func $run (type $t) (canon lift (core func $main "run")))
  (instance $face (export "run" (func $run)))
  (export "wasi:cli/run@0.3.0" (instance $face)))
