// Traps two calls deep. Made into lines.wasm, in this directory, with
// clang-19 --target=wasm32-wasi -O0 -gdwarf-4 -nostdlib -fdebug-compilation-dir=. -Wl,--no-entry -Wl,--export=_start lines.c -o lines.wasm
static void take(int left) {
    if (left < 0)
        __builtin_trap();
}

void _start(void) {
    take(1);
    take(-1);
}
