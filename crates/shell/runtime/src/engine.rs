//! The engines and how their memory is laid out.
//!
//! There are two kinds because one instance is used in two ways. A `wasi:http` instance lives for one request: its memory comes
//! from a pool of slots that stay mapped and partly resident, so that a fresh one costs microseconds. A command lives for
//! minutes to months and may need all of 4 GiB: a pool would only cap its memory and hold slots hostage, so its memory is
//! mapped when it starts (see [`crate::linear`]). A program is only ever compiled for one of them. Components of WASI 0.3
//! have a pair of their own, because several calls at once in one instance cost what those of WASI 0.2 need not pay; it is
//! made when the first such component is loaded; so are that of services that were compiled in a hurry, and that of commands
//! on threads of their own.
//!
//! Start at [`Engines::new`]. [`pools`] decides, from facts alone, what to try to reserve.

use std::sync::{Arc, OnceLock};

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy, WasmBacktraceDetails,
};

use crate::{
    ProgramKind,
    linear::Memories,
    machine::Machine,
    reuse,
    share::{EARLY_PLACES_MAX, PLACE_STACKS, PLACE_TABLES},
    state::CORE_INSTANCES_MAX,
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Address space at and above which 4 GiB can be reserved for every memory.
const ROOMY: u64 = 1 << 46;

/// Most instances of a pool that nobody asked to be larger. Every instance's stack gets a guard page of its own when the pool is
/// made: four times as many would cost a start of the node tens of milliseconds.
const INSTANCES_USUAL: u64 = 1024;

/// Memory of the machine for each instance of a pool.
const INSTANCE_BYTES: u64 = 4 * MIB;

/// One engine for requests and one for commands.
pub(crate) struct Engines {
    /// Runs `wasi:http` components.
    pub(crate) http: Engine,
    /// Runs commands.
    pub(crate) command: Engine,
    /// The pool behind `http`, `None` when memory is mapped on demand.
    pub(crate) pool: Option<Pool>,
    machine: Machine,
    instances_max: Option<u32>,
    /// Runs `wasi:http` components that were compiled in a hurry. Made when it is first needed.
    early: OnceLock<Option<Engine>>,
}

/// The pair for WASI 0.3.
pub(crate) struct Concurrent {
    /// Runs services.
    pub(crate) http: Engine,
    /// The pool behind it.
    pub(crate) pool: Option<Pool>,
    /// Runs commands.
    pub(crate) command: Engine,
}

/// How much a pool of instances reserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pool {
    /// Most instances alive at once.
    pub(crate) instances: u32,
    /// Most heaps of what is garbage-collected: one for each where addresses are plenty. Each takes a memory beside the instances'
    /// own, so that there are as many more.
    pub(crate) heaps: u32,
    /// Most linear memory of one, in bytes.
    pub(crate) memory_bytes: u64,
    /// Unmapped bytes after each memory; with 4 GiB memories they stand in for bounds checks.
    pub(crate) guard_bytes: u64,
    /// Most native stacks of all of them.
    pub(crate) stacks: u32,
    /// Bytes of each.
    pub(crate) stack_bytes: u64,
}

impl Pool {
    /// Most memories of all instances.
    fn memories(self) -> u32 {
        self.instances.saturating_add(self.heaps)
    }

    /// With as many stacks as instances of WASI 0.3 may hold: those that run as many as their places have, and those that are kept
    /// for reuse, which have no places, no more.
    fn of_concurrent(self) -> Pool {
        let kept = u32::try_from(reuse::kept_max(self.instances as usize)).unwrap_or(u32::MAX);
        let stacks = self.instances.saturating_add(kept).saturating_mul(PLACE_STACKS);
        Pool { stacks, ..self }
    }
}

impl Engines {
    /// Reserves the largest pool that this machine grants.
    pub(crate) fn new(machine: Machine, instances_max: Option<u32>) -> wasmtime::Result<Self> {
        let command = Engine::new(&command_config(machine))?;
        let (http, pool) = pooled(machine, instances_max, |pool| pool, |config| config)?;
        Ok(Self { http, command, pool, machine, instances_max, early: OnceLock::new() })
    }

    /// How many engines for requests fit into the addresses that are meant for them, for no more threads than there are cores.
    pub(crate) fn lanes(&self) -> usize {
        self.pool.map_or(1, |it| lanes(self.machine, it))
    }

    /// One more engine for requests, with a pool of its own, that runs the same code.
    pub(crate) fn another(&self) -> wasmtime::Result<Engine> {
        Engine::new(&http_config(self.pool))
    }

    /// The engine of the baseline compiler, `None` where there is none for this machine. `is_new` is told once.
    pub(crate) fn early(&self, is_new: impl FnOnce(&Engine)) -> Option<&Engine> {
        let make = || {
            let mut config = early_config(self.pool);
            if self.pool.is_none() {
                confine(&mut config, self.machine);
            }
            match Engine::new(&config) {
                Ok(engine) => {
                    is_new(&engine);
                    Some(engine)
                }
                Err(error) => {
                    tracing::info!(%error, "no baseline compiler for this machine: large guests answer when optimised");
                    None
                }
            }
        };
        self.early.get_or_init(make).as_ref()
    }

    /// Makes the engines of WASI 0.3; with a pool, which takes milliseconds.
    pub(crate) fn concurrent(&self) -> wasmtime::Result<Concurrent> {
        let command = Engine::new(&concurrent(command_config(self.machine)))?;
        let (http, pool) = pooled(self.machine, self.instances_max, Pool::of_concurrent, concurrent)?;
        Ok(Concurrent { http, pool, command })
    }

    /// What code of programs of `kind` depends on here, where requests have `pool`.
    pub(crate) fn layout(&self, kind: ProgramKind, pool: Option<Pool>) -> Config {
        layout(kind, self.machine, pool)
    }

    /// Makes the engine of commands on threads of their own. With what its code depends on.
    pub(crate) fn unchecked(&self) -> wasmtime::Result<(Engine, Config)> {
        let config = unchecked_config(self.machine);
        Ok((Engine::new(&config)?, config))
    }
}

/// An engine with the largest pool that the machine grants.
fn pooled(
    machine: Machine,
    instances_max: Option<u32>,
    resize: fn(Pool) -> Pool,
    change: fn(Config) -> Config,
) -> wasmtime::Result<(Engine, Option<Pool>)> {
    for pool in pools(machine, instances_max).into_iter().map(resize) {
        match Engine::new(&change(http_config(Some(pool)))) {
            Ok(http) => return Ok((http, Some(pool))),
            Err(error) => tracing::debug!(?pool, %error, "reserving an instance pool failed, trying a smaller one"),
        }
    }
    tracing::warn!("no instance pool can be reserved; instances will start slower");
    let mut on_demand = change(http_config(None));
    confine(&mut on_demand, machine);
    Ok((Engine::new(&on_demand)?, None))
}

/// Several calls at once in one instance, and what the component model has for them. But neither of what would let one component
/// have several calls that wait on stacks of their own, on which [`crate::stacks`] relies.
fn concurrent(mut config: Config) -> Config {
    config.concurrency_support(true);
    config.wasm_component_model_async(true);
    config.wasm_component_model_async_stackful(false).wasm_component_model_threading(false);
    config
}

/// The pools worth trying on `machine`, best first.
///
/// Only requests in flight hold a slot, not idle guests, so thousands are plenty. What an instance has in garbage-collected memory
/// must not take another's place: so there are two memories for each, unless addresses are scarce. Then one memory in nine is for
/// that alone: guests that collect garbage leave memories to those that do not, but may want for heaps among themselves. A quarter
/// of the address space may be reserved at most, 16 memory mappings are counted for each instance, and no more instances than RAM
/// can feed.
fn pools(machine: Machine, instances_max: Option<u32>) -> Vec<Pool> {
    const INSTANCES_FEW: u64 = 256;
    let by_machine = (machine.ram_bytes / INSTANCE_BYTES).min(machine.maps_max / 16).clamp(16, 8192);
    let wanted = instances_max.map_or(by_machine.min(INSTANCES_USUAL), |it| u64::from(it).clamp(1, by_machine));
    let stack_bytes = if machine.space_bytes >= ROOMY { 2 * MIB } else { MIB };
    let sizes = [(4 * GIB, 32 * MIB), (GIB, 64 * KIB), (256 * MIB, 64 * KIB), (128 * MIB, 64 * KIB)];
    sizes
        .into_iter()
        .filter_map(|(memory_bytes, guard_bytes)| {
            let fit = machine.space_bytes / 4 / (memory_bytes + guard_bytes + stack_bytes);
            let (instances, heaps) = match fit.min(wanted + wanted.div_ceil(8)) {
                _ if fit / 4 >= wanted => (wanted, wanted),
                memories => (memories - memories.div_ceil(9), memories.div_ceil(9)),
            };
            let (instances, heaps) = (u32::try_from(instances).ok()?, u32::try_from(heaps).ok()?);
            let enough = instances > 0 && fit >= wanted.min(INSTANCES_FEW);
            // Without concurrent calls a store has one stack: that of the call into it, or kept from the last one.
            enough.then_some(Pool { instances, heaps, memory_bytes, guard_bytes, stacks: instances, stack_bytes })
        })
        .collect()
}

/// How many pools like this one a quarter of the address space holds; one for each core at most.
fn lanes(machine: Machine, pool: Pool) -> usize {
    let memories = u64::from(pool.memories()).saturating_mul(pool.memory_bytes + pool.guard_bytes);
    let bytes = memories.saturating_add(u64::from(pool.stacks) * pool.stack_bytes).max(1);
    usize::try_from(machine.space_bytes / 4 / bytes).unwrap_or(usize::MAX).clamp(1, machine.cores.max(1))
}

/// What code of programs of `kind` depends on, on a machine whose requests have `pool`: what to compile it with. Without the pool
/// itself, since nothing runs on it.
pub(crate) fn layout(kind: ProgramKind, machine: Machine, pool: Option<Pool>) -> Config {
    let mut config = match kind.is_command() {
        true => command_config(machine),
        false => http_config(pool),
    };
    if !kind.is_command() && pool.is_none() {
        confine(&mut config, machine);
    }
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    if kind.is_concurrent() { concurrent(config) } else { config }
}

/// The layouts for programs of `kind` of all nodes whose addresses have one of these widths and that have 256 MiB or more.
pub(crate) fn layouts(kind: ProgramKind, address_bits: &[u32]) -> Vec<Config> {
    const RAM_LEAST: u64 = 256 * MIB;
    const MAPS_USUAL: u64 = 65_530;
    let mut known = Vec::new();
    for bits in address_bits {
        for instances in RAM_LEAST / INSTANCE_BYTES..=INSTANCES_USUAL {
            let (ram_bytes, space_bytes) = (instances * INSTANCE_BYTES, 1u64 << *bits);
            let machine = Machine { cores: 1, ram_bytes, space_bytes, maps_max: MAPS_USUAL };
            let pool = pools(machine, None).first().copied().filter(|_| !kind.is_command());
            let matters = (pool.map(|it| (it.memory_bytes, it.guard_bytes)), pool.is_none() && space_bytes < ROOMY);
            if !known.iter().any(|(it, _)| *it == matters) {
                known.push((matters, layout(kind, machine, pool)));
            }
        }
    }
    known.into_iter().map(|(_, layout)| layout).collect()
}

/// What both engines share.
fn base_config() -> Config {
    let mut config = Config::new();
    // Every guest can be interrupted: for deadlines, kills and fair turns.
    config.epoch_interruption(true);
    // Preview 2 only: no concurrent calls into one instance.
    config.concurrency_support(false);
    // Registering unwind tables makes loading and dropping code slower; our traps do not need them.
    config.native_unwind_info(false);
    // Read when a guest traps; how much there may be is held by `debuginfo`.
    config.wasm_backtrace_details(WasmBacktraceDetails::Enable);
    config
}

fn http_config(pool: Option<Pool>) -> Config {
    let mut config = base_config();
    let Some(pool) = pool else { return config };
    let Pool { instances, heaps, memory_bytes, guard_bytes, stacks, stack_bytes } = pool;
    // A Rust guest is four core instances (itself, adapter, shims) with up to three tables. What has more memories or tables
    // takes more than one place. Core instances are only counted: as many as all may have, so that nobody takes another's.
    let (cores, tables) = (instances.saturating_mul(CORE_INSTANCES_MAX), instances.saturating_mul(PLACE_TABLES));
    let mut pooling = PoolingAllocationConfig::new();
    pooling
        .total_component_instances(instances)
        .total_core_instances(cores)
        .total_memories(pool.memories())
        .total_tables(tables)
        .total_stacks(stacks)
        .total_gc_heaps(heaps)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .max_memories_per_module(2)
        .max_tables_per_module(4)
        .table_elements(32_768)
        .max_memory_size(usize::try_from(memory_bytes).unwrap_or(usize::MAX))
        // Zeroing what was touched beats giving it back: madvise serialises threads on the process's memory map, and each page that
        // is then read before it is written interrupts the other processors. Interpreters touch that much of both; of memory
        // wasmtime keeps 32 stretches at most.
        .linear_memory_keep_resident(384 << 10)
        .table_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto)
        // Slots remember their last program; those beyond this many are taken over before untouched ones are used.
        .max_unused_warm_slots(64);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
    config.memory_reservation(memory_bytes);
    config.memory_guard_size(guard_bytes);
    config.async_stack_size(usize::try_from(stack_bytes).unwrap_or(1 << 20));
    config
}

/// As for other requests, but of few instances: what runs here runs for seconds.
fn early_config(pool: Option<Pool>) -> Config {
    let of_few = |it: Pool| {
        let instances = it.instances.min(EARLY_PLACES_MAX);
        Pool { instances, heaps: it.heaps.min(instances), stacks: instances, ..it }
    };
    let pool = pool.map(of_few);
    let mut config = http_config(pool);
    config.strategy(Strategy::Winch);
    if let Some(pool) = pool {
        // Its frames are larger: the same depth of calls needs more.
        config.max_wasm_stack(usize::try_from(pool.stack_bytes / 2).unwrap_or(512 << 10));
    }
    config
}

fn command_config(machine: Machine) -> Config {
    let mut config = base_config();
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    config.with_host_memory(Arc::new(Memories));
    // Images of data belong to wasmtime's own mappings.
    config.memory_init_cow(false);
    confine(&mut config, machine);
    config
}

/// As for other commands, but code that nothing interrupts of itself. What it lacks is what [`crate::own`] could not
/// interrupt at any instruction.
fn unchecked_config(machine: Machine) -> Config {
    let mut config = command_config(machine);
    config.epoch_interruption(false);
    config.wasm_tail_call(false).wasm_exceptions(false).wasm_gc(false);
    config
}

/// In a small address space memories start small and move when they outgrow their place.
fn confine(config: &mut Config, machine: Machine) {
    if machine.space_bytes < ROOMY {
        config.memory_reservation(64 * MIB);
        config.memory_reservation_for_growth(64 * MIB);
        config.memory_guard_size(64 * KIB);
        config.async_stack_size(1 << 20);
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(ram_gib: u64, space_bits: u32, maps_max: u64, instances_max: Option<u32>, want: Expect) {
        let machine = Machine { cores: 2, ram_bytes: ram_gib << 30, space_bytes: 1 << space_bits, maps_max };
        let got: String = pools(machine, instances_max)
            .iter()
            .map(|it| {
                let (instances, memories) = (it.instances, it.memories());
                format!("{instances} ({memories}) x {} MiB + {} KiB\n", it.memory_bytes >> 20, it.guard_bytes >> 10)
            })
            .collect();
        want.assert_eq(&got);
    }

    #[test]
    fn a_server_reserves_whole_memories() {
        check(
            24,
            47,
            65_530,
            Some(10_000),
            expect![[r#"
            4095 (4607) x 4096 MiB + 32768 KiB
            4095 (8190) x 1024 MiB + 64 KiB
            4095 (8190) x 256 MiB + 64 KiB
            4095 (8190) x 128 MiB + 64 KiB
        "#]],
        );
    }

    #[test]
    fn threads_have_pools_of_their_own_where_addresses_are_plenty() {
        let count = |cores, ram_gib: u64, space_bits: u32| {
            let machine = Machine { cores, ram_bytes: ram_gib << 30, space_bytes: 1 << space_bits, maps_max: 65_530 };
            lanes(machine, pools(machine, None)[0])
        };
        assert_eq!([count(1, 24, 47), count(2, 24, 47), count(16, 24, 47), count(4, 4, 39)], [1, 2, 3, 1]);
    }

    #[test]
    fn one_layout_serves_all_roomy_machines_and_few_the_others() {
        let count = |kind, bits: &[u32]| layouts(kind, bits).len();
        let (service, command) = (ProgramKind::ServiceComponent, ProgramKind::CommandModule);
        assert_eq!(
            [[47].as_slice(), &[47, 48, 57]].map(|bits| (count(service, bits), count(command, bits))),
            [(1, 1); 2]
        );
        // Boards of 256 MiB reserve 1 GiB for an instance, those of 512 MiB and more 256 MiB.
        assert_eq!((count(service, &[39]), count(command, &[39])), (2, 1));
        assert_eq!((count(service, &[39, 48]), count(command, &[39, 48])), (3, 2));
        // No pool fits for many instances: memory is mapped on demand.
        assert_eq!((count(service, &[36]), count(command, &[36])), (2, 1));
    }

    #[test]
    fn a_board_with_39_bits_reserves_less() {
        check(
            4,
            39,
            65_530,
            None,
            expect![[r#"
            452 (509) x 256 MiB + 64 KiB
            902 (1015) x 128 MiB + 64 KiB
        "#]],
        );
    }

    #[test]
    fn unasked_a_server_reserves_what_starts_fast() {
        check(
            24,
            47,
            65_530,
            None,
            expect![[r#"
            1024 (2048) x 4096 MiB + 32768 KiB
            1024 (2048) x 1024 MiB + 64 KiB
            1024 (2048) x 256 MiB + 64 KiB
            1024 (2048) x 128 MiB + 64 KiB
        "#]],
        );
    }

    #[test]
    fn a_cap_is_honoured_and_a_tiny_machine_still_has_some() {
        check(
            24,
            47,
            65_530,
            Some(10),
            expect![[r#"
            10 (20) x 4096 MiB + 32768 KiB
            10 (20) x 1024 MiB + 64 KiB
            10 (20) x 256 MiB + 64 KiB
            10 (20) x 128 MiB + 64 KiB
        "#]],
        );
        check(0, 32, 65_530, None, expect![""]);
    }
}
