// A vitserve of one's own for a test: start() starts the program that VITSERVE names.
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { once } from "node:events";

const root = new URL("../../", import.meta.url);

/** The bytes of one of the project's photos. */
export const photo = (name = "banana.jpg") => readFile(new URL(`testdata/images/${name}`, root));

/** A folder of the tiny checkpoints. */
export const golden = (name) => new URL(`models/testdata/golden/${name}`, root).pathname;

/** Starts a server with settings, those of a configuration file, and arguments. */
export async function start(settings = {}, ...args) {
  const folder = await mkdtemp(join(tmpdir(), "clients-"));
  const config = join(folder, "config.yaml");
  await writeFile(config, JSON.stringify(settings));
  const child = spawn(process.env.VITSERVE, ["serve", "--addr", "127.0.0.1:0", "--log-format", "json", "--config", config, ...args],
    { stdio: ["ignore", "ignore", "pipe"] });
  const exit = once(child, "exit");
  const lines = [];
  const url = await new Promise((found, failed) => {
    createInterface({ input: child.stderr }).on("line", (line) => {
      lines.push(line);
      const said = line.startsWith("{") ? JSON.parse(line) : {};
      if (said.msg === "listening") found(`http://${said.addr}`);
    });
    child.once("exit", () => failed(new Error(`the server ended: ${lines.join("\n")}`)));
  });
  const server = {
    url,
    child,
    exit,
    /** Waits until every model is loaded. */
    async ready() {
      while ((await fetch(`${url}/readyz`)).status !== 200) await sleep(20);
      return server;
    },
    /** How many requests a route has had. */
    async requests(route) {
      const text = await (await fetch(`${url}/metrics`)).text();
      let n = 0;
      for (const line of text.split("\n")) {
        if (line.startsWith("vitserve_request_duration_seconds_count{") && line.includes(`route="${route}"`)) n += Number(line.split(" ").at(-1));
      }
      return n;
    },
    /** Ends the server as it should end. */
    async close() {
      if (child.exitCode === null) child.kill("SIGTERM");
      const [code] = await exit;
      await rm(folder, { recursive: true });
      if (code !== 0 || lines.some((l) => l.includes("panic"))) throw new Error(`the server ended with ${code}: ${lines.slice(-20).join("\n")}`);
    },
  };
  return server;
}

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
