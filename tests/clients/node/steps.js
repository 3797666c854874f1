const assert = require("node:assert");

let failed = 0;

// One part of the round; one that fails lets the others run.
async function run(name, work) {
  try {
    await work();
  } catch (error) {
    failed += 1;
    console.error(`FAILED ${name}: ${error.stack ?? error}`);
  }
}

// What was answered, when it says that all went well.
function ok(answer) {
  const status = answer.status ?? answer;
  if (status.error_code !== undefined) assert.equal(status.error_code, "Success", JSON.stringify(status));
  return answer;
}

// An answer or an exception that says in these words what is wrong.
async function refused(words, call) {
  const answer = await call().catch((error) => error);
  assert.match(JSON.stringify(answer.status ?? answer.reason ?? answer.message ?? answer), words);
}

function report() {
  if (failed > 0) process.exit(1);
  console.log("ok");
  process.exit(0);
}

const DIM = 8;
const COUNT = 200;
const BIRDS = "node_birds";

function vectorOf(i) {
  return Array.from({ length: DIM }, (_, j) => Math.fround(Math.sin(i * 31 + j * 7)));
}

module.exports = { assert, run, ok, refused, report, vectorOf, DIM, COUNT, BIRDS };
