//! Runs each kernel and prints its name, its result and its nanoseconds. `cargo xtask bench runtime` runs the same code natively.

mod kernels;

fn main() {
    for (name, kernel, rounds) in kernels::ALL {
        let (result, best) = kernels::timed(kernel, rounds);
        println!("{name} {result} {}", best.as_nanos());
    }
}
