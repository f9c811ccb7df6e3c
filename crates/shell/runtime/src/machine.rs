//! What the machine offers that the sizes of instance pools depend on.

/// Facts about this machine and process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Cores this process may use.
    pub(crate) cores: usize,
    /// Physical memory in bytes.
    pub(crate) ram_bytes: u64,
    /// Address space this process may map, in bytes.
    pub(crate) space_bytes: u64,
    /// Most memory mappings a process may have.
    pub(crate) maps_max: u64,
}

impl Machine {
    /// Looks at this machine. What cannot be read is assumed small.
    pub(crate) fn probe() -> Self {
        let info = rustix::system::sysinfo();
        let limit = rustix::process::getrlimit(rustix::process::Resource::As).current.unwrap_or(u64::MAX);
        let maps = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok().and_then(|it| it.trim().parse().ok());
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            ram_bytes: (info.totalram as u64).saturating_mul(u64::from(info.mem_unit)),
            space_bytes: (1u64 << address_bits()).min(limit),
            maps_max: maps.unwrap_or(65_530),
        }
    }
}

/// How many bits a user address has: stacks are put near the top of the address space, so one of theirs tells.
/// Many boards have 39 (512 GiB); most servers 47 (128 TiB).
fn address_bits() -> u32 {
    let on_stack = 0u8;
    (std::ptr::from_ref(&on_stack).addr() as u64).ilog2() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory_and_addresses_beyond_it() {
        let machine = Machine::probe();
        assert!(machine.cores >= 1);
        assert!(machine.ram_bytes > 64 << 20);
        assert!(machine.space_bytes > machine.ram_bytes);
        assert!(machine.maps_max >= 1024);
    }
}
