// The reference page as a person meets it, in a browser that can reach nothing but this server.
//
// usage: node reference.mjs URL CHROMIUM FOLDER; FOLDER is where playwright-core and axe-core are installed
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [url, executablePath, folder] = process.argv.slice(2);
const require = createRequire(`${folder}/package.json`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const { origin, hostname } = new URL(url);

const browser = await chromium.launch({
  executablePath,
  // Names lead nowhere. The sandbox of the browser cannot be had by root, as which checks often run.
  args: ["--no-sandbox", `--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE ${hostname}`],
});
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  const wrong = [];
  const asked = [];
  page.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("requestfailed", (request) => wrong.push(`${request.url()} failed`));
  page.on("response", (answer) => answer.status() >= 400 && wrong.push(`${answer.url()}: ${answer.status()}`));
  page.on("request", (request) => asked.push(request.url()));

  await page.goto(`${url}/docs`);
  await page.waitForSelector("article");

  const told = await (await fetch(`${url}/openapi.json`)).json();
  const operations = Object.values(told.paths).flatMap((methods) => Object.values(methods));
  const names = operations.map((operation) => operation.operationId).sort();
  const ids = (selector, of) => page.$$eval(selector, (found, of) => found.map((one) => one.getAttribute(of)), of);
  assert.deepEqual((await ids("article", "id")).sort(), names, "every operation is shown once");
  const links = (await ids("#contents a", "href")).map((href) => href.slice(1)).sort();
  assert.deepEqual(links, names, "every operation is listed once");
  for (const operation of operations) {
    const shown = await page.textContent(`[id="${operation.operationId}"]`);
    for (const status of Object.keys(operation.responses)) {
      assert.ok(shown.includes(status), `${operation.operationId} shows ${status}`);
    }
    const fields = Object.keys(operation.requestBody?.content["application/json"]?.schema.properties ?? {});
    assert.ok(fields.every((field) => shown.includes(field)), `${operation.operationId} shows ${fields}`);
  }

  await page.fill("#search", "overlap");
  const left = await page.$$eval("article:not([hidden])", (found) => found.map((one) => one.id));
  assert.ok(left.includes("get_campaign_contact_overlap") && left.length < names.length, left.join());
  await page.fill("#search", "");
  await page.click('#contents a[href="#create_outbound_campaign"]');
  assert.equal(new URL(page.url()).hash, "#create_outbound_campaign");

  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  assert.deepEqual(violations.map((one) => `${one.id}: ${one.nodes[0].html}`), [], "nobody is kept out");

  assert.deepEqual(asked.filter((one) => new URL(one).origin !== origin), [], "nothing is asked of anybody else");
  assert.deepEqual(wrong, [], "nothing goes wrong in the console");
  console.log(`the reference page shows ${names.length} operations, from ${asked.length} requests to ${hostname}`);
} finally {
  await browser.close();
}
