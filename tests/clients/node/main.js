// Milvus's SDK for Node on a Redkite server.
//
//   node main.js HOST:PORT [USER PASSWORD CERTIFICATE]
//
// Each step asserts values. The program prints "ok" and exits with 0 only when all of them hold.
const { MilvusClient } = require("@zilliz/milvus2-sdk-node");
const { ok, run, report } = require("./steps");

const [address, username, password, certificate] = process.argv.slice(2);

async function main() {
  const encrypted = certificate ? { ssl: true, tls: { rootCertPath: certificate, serverName: "localhost" } } : {};
  const connect = (options = {}) => new MilvusClient({ address, username, password, ...encrypted, ...options });
  const client = connect();
  await client.connectPromise;
  const round = { client, connect, guarded: username !== undefined };
  for (const part of ["rows", "reads", "changes", "texts", "definitions", "rights", "load"]) {
    await require(`./${part}`)(round);
  }
  await run("close", async () => {
    ok(await client.checkHealth());
    await client.closeConnection();
  });
  report();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
