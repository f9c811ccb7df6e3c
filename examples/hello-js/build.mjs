// node build.mjs TOOLS SOURCE WIT TO: a component out of one JavaScript file. TOOLS is where npm put its packages.
import { readFile, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [tools, source, wit, to] = process.argv.slice(2);
const compiler = resolve(tools, "node_modules/@bytecodealliance/componentize-js/src/componentize.js");
const { componentize } = await import(pathToFileURL(compiler));
const { component } = await componentize(await readFile(source, "utf8"), { witPath: wit, worldName: "service" });
await writeFile(to, component);
