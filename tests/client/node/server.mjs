// Starts and stops a real server for the Node suites, and makes official clients of it.

import { spawn } from "node:child_process";
import { mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

// The package lies in the cache of the suites, not beside these files.
const installed = join(process.env.ELACSYM_TEST_NODE, "node_modules/@turbopuffer/turbopuffer/index.mjs");
export const sdk = await import(pathToFileURL(installed));
export const { Turbopuffer } = sdk;

const READY = /listening on (http:\/\/127\.0\.0\.1:\d+)/;
const START_MS_MAX = 30_000;

/** One `elacsym serve` process on a random port of the loopback interface, over a directory of its own. */
export class Server {
  /** Starts a server; `settings` are environment variables of Elacsym's own, `folder` one to keep. */
  static async start(settings = {}, folder = undefined) {
    const server = new Server();
    server.folder = folder ?? mkdtempSync(join(tmpdir(), "elacsym-node-"));
    server.logFile = join(mkdtempSync(join(tmpdir(), "elacsym-node-log-")), "log.txt");
    const environment = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !name.startsWith("ELACSYM_")),
    );
    server.process = spawn(
      process.env.ELACSYM_BIN,
      ["serve", "--storage-url", pathToFileURL(server.folder).href, "--listen", "127.0.0.1:0"],
      // Standard error goes to a file: a pipe nobody reads would block the server.
      {
        env: { ...environment, ...settings },
        stdio: ["ignore", "pipe", openSync(server.logFile, "w")],
      },
    );
    // Whatever happens to the tests, no server outlives them.
    server.atExit = () => server.process.kill("SIGKILL");
    process.once("exit", server.atExit);
    server.url = await server.address();
    return server;
  }

  /** Reads standard output until the line with the address. */
  address() {
    return new Promise((resolve, reject) => {
      let seen = "";
      const fail = (why) => {
        this.process.kill("SIGKILL");
        reject(new Error(`the server did not come up, ${why}: ${seen}\n${readFileSync(this.logFile)}`));
      };
      const timer = setTimeout(fail, START_MS_MAX, "no address in time");
      this.process.once("exit", (status) => fail(`it ended with ${status}`));
      this.process.stdout.on("data", (chunk) => {
        seen += chunk;
        const found = READY.exec(seen);
        if (found) {
          clearTimeout(timer);
          this.process.removeAllListeners("exit");
          resolve(found[1]);
        }
      });
    });
  }

  /** An official client of this server. */
  client(options = {}) {
    return new Turbopuffer({ baseURL: this.url, apiKey: "any-key", maxRetries: 0, ...options });
  }

  /** A namespace of an official client. Its writes would retry six times unless told otherwise. */
  namespace(name, options = {}) {
    return this.client(options).namespace(name);
  }

  /** Sends JSON, or text as it is, past the client. */
  async send(method, path, body, headers = {}) {
    const reply = await fetch(this.url + path, {
      method,
      headers: { "content-type": "application/json", ...headers },
      body: body === undefined || typeof body === "string" ? body : JSON.stringify(body),
    });
    return { status: reply.status, headers: reply.headers, text: await reply.text() };
  }

  /** Ends the process as a power cut would. */
  async kill() {
    process.removeListener("exit", this.atExit);
    if (this.process.exitCode === null && this.process.signalCode === null) {
      const ended = new Promise((resolve) => this.process.once("exit", resolve));
      this.process.kill("SIGKILL");
      await ended;
    }
    this.process.stdout.destroy();
  }

  /** Ends the process and removes what it stored. */
  async remove() {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
    rmSync(join(this.logFile, ".."), { recursive: true, force: true });
  }
}
