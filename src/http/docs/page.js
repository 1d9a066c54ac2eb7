// Shows the document of /openapi.json: one article for each operation, grouped and searchable. Text is only ever set as
// text, so that nothing in the document can become markup.
"use strict";

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// What a reference within the document points to. A schema may also be `true`: anything.
function resolve(root, value) {
  let seen = 0;
  while (value && value.$ref && seen++ < 20) {
    value = value.$ref.slice(2).split("/").reduce((at, step) => at[step.replaceAll("~1", "/").replaceAll("~0", "~")], root);
  }
  return value === true ? {} : value || {};
}

function kind(root, schema) {
  schema = resolve(root, schema);
  if (schema.enum) return schema.enum.filter((value) => value !== null).join(" | ");
  if ("const" in schema) return JSON.stringify(schema.const);
  const several = schema.anyOf || schema.oneOf;
  if (several) return several.map((one) => kind(root, one)).join(" or ");
  const types = [].concat(schema.type || "anything");
  return types.map((type) => (type === "array" ? "array of " + kind(root, schema.items || {}) : type)).join(" or ");
}

function limits(schema) {
  const words = [];
  for (const [key, word] of [["minimum", "at least "], ["maximum", "at most "], ["maxLength", "characters: at most "],
    ["minItems", "items: at least "], ["maxItems", "items: at most "], ["format", ""], ["default", "default "]]) {
    if (schema[key] !== undefined) words.push(word + schema[key]);
  }
  return words.join("; ");
}

// The fields of an object, with those of objects within it below their names.
function rows(root, schema, prefix, depth) {
  schema = resolve(root, schema);
  const found = [];
  const required = schema.required || [];
  for (const [name, property] of Object.entries(schema.properties || {})) {
    const inner = resolve(root, property);
    const mark = required.includes(name) ? ", required" : "";
    found.push(element("tr", {},
      element("td", {}, element("code", {}, prefix + name)),
      element("td", {}, kind(root, property) + mark, element("div", { class: "quiet" }, limits(inner))),
      element("td", {}, inner.description || "")));
    if (depth > 0) {
      const below = resolve(root, inner.items || inner);
      found.push(...rows(root, below, prefix + name + (inner.items ? "[]." : "."), depth - 1));
    }
  }
  return found;
}

function fields(root, schema) {
  const found = rows(root, schema, "", 4);
  if (found.length === 0) return element("p", { class: "quiet" }, kind(root, schema));
  const head = element("tr", {}, ...["Field", "Type", "Meaning"].map((text) => element("th", { scope: "col" }, text)));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...found));
}

function section(title, ...content) {
  return [element("h4", {}, title), ...content];
}

function operation(root, path, method, told) {
  const parts = [];
  if (told.description) parts.push(element("p", {}, told.description));
  const parameters = (told.parameters || []).map((one) => resolve(root, one));
  if (parameters.length > 0) {
    const schema = { properties: {}, required: [] };
    for (const one of parameters) {
      schema.properties[one.name] = { ...resolve(root, one.schema), description: one.description || one.in };
      if (one.required) schema.required.push(one.name);
    }
    parts.push(...section("Parameters", fields(root, schema)));
  }
  for (const [type, body] of Object.entries((told.requestBody || {}).content || {})) {
    parts.push(...section("Body, " + type, fields(root, body.schema)));
    for (const example of Object.values(body.examples || {})) {
      parts.push(element("p", { class: "quiet" }, example.summary),
        element("pre", { tabindex: "0" }, JSON.stringify(example.value, null, 2)));
    }
  }
  for (const [status, answer] of Object.entries(told.responses || {})) {
    const told = resolve(root, answer);
    const content = Object.values(told.content || {})[0];
    const shown = content && status < 400 ? fields(root, content.schema) : null;
    parts.push(element("h4", {}, status + " ", element("span", { class: "quiet" }, told.description)));
    if (shown) parts.push(shown);
  }
  return element("article", { id: told.operationId },
    element("h3", {}, element("span", { class: "method" }, method.toUpperCase()), element("code", {}, path)),
    element("p", {}, told.summary === told.operationId ? "" : told.summary), ...parts);
}

function show(root) {
  const contents = document.getElementById("contents");
  const reference = document.getElementById("reference");
  const entries = [];
  reference.replaceChildren(
    element("h1", {}, root.info.title, " ", element("span", { class: "quiet" }, root.info.version)),
    element("p", {}, root.info.summary), element("p", {}, root.info.description),
    element("p", {}, element("a", { href: "/openapi.json" }, "The document itself")));
  for (const tag of root.tags) {
    const list = element("ul", {});
    const heading = element("h2", {}, tag.name);
    const title = element("section", {}, element("h2", {}, tag.name), element("p", {}, tag.description));
    reference.append(title);
    for (const [path, methods] of Object.entries(root.paths)) {
      for (const [method, told] of Object.entries(methods)) {
        if (!(told.tags || []).includes(tag.name)) continue;
        const article = operation(root, path, method, told);
        const item = element("li", {}, element("a", { href: "#" + told.operationId }, told.summary));
        list.append(item);
        reference.append(article);
        const words = [path, told.operationId, told.summary, told.description].join(" ").toLowerCase();
        entries.push({ item, article, words, heading, title });
      }
    }
    contents.append(heading, list);
  }
  const search = document.getElementById("search");
  search.addEventListener("input", () => {
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const groups = new Map();
    for (const { item, article, words, heading, title } of entries) {
      const fits = wanted.every((word) => words.includes(word));
      item.hidden = article.hidden = !fits;
      groups.set(heading, (groups.get(heading) || false) || fits);
      title.hidden = heading.hidden = !groups.get(heading);
    }
  });
  const anchor = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (anchor) anchor.scrollIntoView();
}

fetch("/openapi.json")
  .then((answer) => answer.json())
  .then(show)
  .catch((error) => {
    document.getElementById("reference").replaceChildren(element("p", {}, "The reference cannot be shown: " + error.message));
  });
