// Answers every request. Built by `cargo xtask guests --with-js` into a component of 13 MB: its JavaScript engine is inside.
addEventListener("fetch", (event) => event.respondWith(new Response("hello, world\n")));
