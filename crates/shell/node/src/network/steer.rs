//! One listening socket for the addresses of all pods, where this process may tell the kernel so.
//!
//! Start at [`Steer::towards`]. The kernel asks a program of a few instructions (BPF's `sk_lookup`, Linux 5.9 and later, with
//! CAP_BPF and CAP_NET_ADMIN) which socket takes a connection that arrives by `lo`. The program looks into a table of addresses
//! and ports that the node fills; what is not in it goes its usual way. Kernel objects all, they go with this value, at the
//! latest with the process.
#![allow(
    unsafe_code,
    reason = "bpf(2) has no safe wrapper among the dependencies; each block says what makes it sound"
)]

use std::{
    fs::File,
    io,
    net::SocketAddrV4,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    ptr,
};

/// Addresses that may be steered at once, as many as a node takes pods.
const ADDRESSES_MAX: u32 = 1 << 18;

/// An address and a port as the program has them: the address as it is sent, the port as the machine writes numbers.
type Key = [u8; 8];

/// Which connections one listening socket takes beside those to its own address.
pub(super) struct Steer {
    addresses: OwnedFd,
    /// What the kernel keeps for as long as these are open.
    _kept: [OwnedFd; 3],
}

impl Steer {
    /// Has `listener` take connections to the addresses that [`Steer::take`] names.
    ///
    /// # Errors
    ///
    /// When this process may not, or the kernel is too old.
    pub(super) fn towards(listener: &impl AsFd) -> io::Result<Steer> {
        let addresses = map(MAP_HASH, size_of::<Key>() as u32, ADDRESSES_MAX, MAP_NO_PREALLOC)?;
        let sockets = map(MAP_SOCKETS, 4, 1, 0)?;
        let socket = descriptor(listener);
        update(&sockets, &0u32.to_ne_bytes(), &socket.to_ne_bytes())?;
        let program = load(&instructions(descriptor(&addresses), descriptor(&sockets)))?;
        let link = attach(&program)?;
        Ok(Steer { addresses, _kept: [sockets, program, link] })
    }

    /// From now on connections to `address` are the listener's.
    ///
    /// # Errors
    ///
    /// When there are too many addresses, or no memory.
    pub(super) fn take(&self, address: SocketAddrV4) -> io::Result<()> {
        update(&self.addresses, &key(address), &0u32.to_ne_bytes())
    }

    /// From now on they are not.
    ///
    /// # Errors
    ///
    /// When they were not before.
    pub(super) fn leave(&self, address: SocketAddrV4) -> io::Result<()> {
        let key = key(address);
        let element = Element { map: descriptor(&self.addresses), reserved: 0, key: pointer(&key), value: 0, flags: 0 };
        // SAFETY: `key` is as long as the map's keys and outlives the call.
        unsafe { bpf(MAP_DELETE, &element) }.map(drop)
    }
}

fn key(address: SocketAddrV4) -> Key {
    let mut key = Key::default();
    key[..4].copy_from_slice(&address.ip().octets());
    key[4..].copy_from_slice(&u32::from(address.port()).to_ne_bytes());
    key
}

// From the kernel's linux/bpf.h.
const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE: libc::c_int = 2;
const MAP_DELETE: libc::c_int = 3;
const PROGRAM_LOAD: libc::c_int = 5;
const LINK_CREATE: libc::c_int = 28;
const MAP_HASH: u32 = 1;
const MAP_SOCKETS: u32 = 15;
const MAP_NO_PREALLOC: u32 = 1;
const PROGRAM_SK_LOOKUP: u32 = 30;
const ATTACH_SK_LOOKUP: u32 = 36;

#[repr(C)]
struct Map {
    kind: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries_max: u32,
    flags: u32,
}

#[repr(C)]
struct Element {
    map: u32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct Load {
    kind: u32,
    instructions_len: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_bytes: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach: u32,
}

#[repr(C)]
struct Link {
    program: u32,
    target: u32,
    attach: u32,
    flags: u32,
}

/// # Safety
///
/// `attributes` must be what the command reads, without padding, and every address in it must be valid for what it stands for.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: the kernel reads as many bytes as it is told there are; the rest is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_ref(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as libc::c_int) }
}

fn map(kind: u32, key_bytes: u32, entries_max: u32, flags: u32) -> io::Result<OwnedFd> {
    let map = Map { kind, key_bytes, value_bytes: 4, entries_max, flags };
    // SAFETY: the attributes hold no address.
    unsafe { bpf(MAP_CREATE, &map).map(|it| OwnedFd::from_raw_fd(it)) }
}

/// Writes an entry of a map whose keys are as long as `key`.
fn update(map: &OwnedFd, key: &[u8], value: &[u8; 4]) -> io::Result<()> {
    let element = Element { map: descriptor(map), reserved: 0, key: pointer(key), value: pointer(value), flags: 0 };
    // SAFETY: the callers' keys and values have the lengths that their maps were made with, and outlive the call.
    unsafe { bpf(MAP_UPDATE, &element) }.map(drop)
}

fn load(instructions: &[Instruction]) -> io::Result<OwnedFd> {
    let mut name = [0; 16];
    name[..9].copy_from_slice(b"eyot_pods");
    let load = Load {
        kind: PROGRAM_SK_LOOKUP,
        instructions_len: instructions.len() as u32,
        instructions: pointer(instructions),
        license: pointer(c"Apache-2.0".to_bytes_with_nul()),
        log_level: 0,
        log_bytes: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name,
        interface: 0,
        attach: ATTACH_SK_LOOKUP,
    };
    // SAFETY: instructions and license outlive the call; the kernel checks the program before it runs it. What it returns is a
    // descriptor of ours.
    unsafe { bpf(PROGRAM_LOAD, &load).map(|it| OwnedFd::from_raw_fd(it)) }
}

/// Has the network namespace of this process ask the program.
fn attach(program: &OwnedFd) -> io::Result<OwnedFd> {
    let namespace = File::open("/proc/self/ns/net")?;
    let link =
        Link { program: descriptor(program), target: descriptor(&namespace), attach: ATTACH_SK_LOOKUP, flags: 0 };
    // SAFETY: the attributes hold no address; what is returned is a descriptor of ours.
    unsafe { bpf(LINK_CREATE, &link).map(|it| OwnedFd::from_raw_fd(it)) }
}

fn descriptor(of: &impl AsFd) -> u32 {
    // A descriptor in use is never negative.
    of.as_fd().as_raw_fd() as u32
}

fn pointer<T: ?Sized>(to: &T) -> u64 {
    ptr::from_ref(to).cast::<()>().expose_provenance() as u64
}

/// One instruction, as the kernel reads them.
#[repr(C)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    value: i32,
}

// Instructions by what they do.
const LOAD_32: u8 = 0x61;
const STORE_32: u8 = 0x63;
const STORE_VALUE_32: u8 = 0x62;
const COPY: u8 = 0xbf;
const SET: u8 = 0xb7;
const ADD: u8 = 0x07;
const UNLESS_EQUAL: u8 = 0x55;
const IF_EQUAL: u8 = 0x15;
const CALL: u8 = 0x85;
const RETURN: u8 = 0x95;
const LOAD_MAP: u8 = 0x18;
/// In the place of a source register: the value is a map's descriptor.
const BY_DESCRIPTOR: u8 = 1;

// Functions that a program may call.
const LOOK_UP: i32 = 1;
const RELEASE: i32 = 86;
const ASSIGN: i32 = 124;

/// The stack's register.
const STACK: u8 = 10;

/// The program: a TCP connection over IPv4 that came by `lo`, to an address of the first map, goes to the socket in the second.
fn instructions(addresses: u32, sockets: u32) -> Vec<Instruction> {
    // Where struct bpf_sk_lookup has what is asked for.
    const FAMILY: i16 = 8;
    const PROTOCOL: i16 = 12;
    const LOCAL_ADDRESS: i16 = 40;
    const LOCAL_PORT: i16 = 60;
    const INTERFACE: i16 = 64;
    const LOOPBACK: i32 = 1;
    let mut out = vec![instruction(COPY, 6, 1, 0, 0)];
    // Jumps lead to the end, wherever that comes to be.
    for (field, wanted) in [(FAMILY, libc::AF_INET), (PROTOCOL, libc::IPPROTO_TCP), (INTERFACE, LOOPBACK)] {
        out.extend([instruction(LOAD_32, 2, 6, field, 0), instruction(UNLESS_EQUAL, 2, 0, 0, wanted)]);
    }
    out.extend([
        instruction(LOAD_32, 2, 6, LOCAL_ADDRESS, 0),
        instruction(STORE_32, STACK, 2, -8, 0),
        instruction(LOAD_32, 2, 6, LOCAL_PORT, 0),
        instruction(STORE_32, STACK, 2, -4, 0),
    ]);
    look_up(&mut out, addresses, -8);
    out.push(instruction(STORE_VALUE_32, STACK, 0, -4, 0));
    look_up(&mut out, sockets, -4);
    out.extend([
        instruction(COPY, 7, 0, 0, 0),
        instruction(COPY, 1, 6, 0, 0),
        instruction(COPY, 2, 7, 0, 0),
        instruction(SET, 3, 0, 0, 0),
        instruction(CALL, 0, 0, 0, ASSIGN),
        instruction(COPY, 1, 7, 0, 0),
        instruction(CALL, 0, 0, 0, RELEASE),
    ]);
    let end = out.len();
    for (at, it) in out.iter_mut().enumerate().filter(|(_, it)| matches!(it.code, UNLESS_EQUAL | IF_EQUAL)) {
        it.offset = (end - at - 1) as i16;
    }
    // 1 lets the connection pass: to the socket, or where it would have gone anyway.
    out.extend([instruction(SET, 0, 0, 0, 1), instruction(RETURN, 0, 0, 0, 0)]);
    out
}

/// Looks for the key at `key` of the stack in a map; without it the program ends.
fn look_up(out: &mut Vec<Instruction>, map: u32, key: i32) {
    out.extend([
        instruction(LOAD_MAP, 1, BY_DESCRIPTOR, 0, map as i32),
        instruction(0, 0, 0, 0, 0),
        instruction(COPY, 2, STACK, 0, 0),
        instruction(ADD, 2, 0, 0, key),
        instruction(CALL, 0, 0, 0, LOOK_UP),
        instruction(IF_EQUAL, 0, 0, 0, 0),
    ]);
}

fn instruction(code: u8, to: u8, from: u8, offset: i16, value: i32) -> Instruction {
    let registers = if cfg!(target_endian = "little") { to | from << 4 } else { to << 4 | from };
    Instruction { code, registers, offset, value }
}
