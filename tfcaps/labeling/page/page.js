"use strict";
// What isn't acknowledged stays in the browser's store and is sent again with its identity: neither
// a reload nor a dead server loses it, and twice does no harm. Each click has an entry of its own,
// as tabs that wrote one list would overwrite each other's. The entries are a pool's: another one at
// the same port, or this one with another token, neither gets the wrong ones nor misses its own.
const token = new URLSearchParams(location.search).get("token");
const SHOWN = 24;
const TOGETHER = 50;     // clicks of one request
let by = sessionStorage.by || crypto.randomUUID();
const store = `unsent:${document.documentElement.dataset.pool}:`;
const element = (id) => document.getElementById(id);
let classes = [];
let shown = [];          // images in the grid; the current one is shown[current]
let current = 0;
let again = null;        // a labelled image that was chosen to be looked at again
let isSending = false;
let isAsking = false;
let asksAgain = false;   // images were labelled while others were asked for
let failing = "";        // why clicks can't be sent at the moment

// A tab that is duplicated gets the other one's name with its store, and would be shown its images:
// a name is whose tab holds the lock, which goes with the tab.
async function takeName() {
  const take = (name) => new Promise((resolve) => navigator.locks.request(name, { ifAvailable: true }, (lock) => {
    resolve(Boolean(lock));
    return lock && new Promise(() => {});
  }));
  while (!await take(`tab:${by}`)) by = crypto.randomUUID();
  sessionStorage.by = by;
}

const unsentKeys = () => Object.keys(localStorage).filter((key) => key.startsWith(store)).sort();
const unsent = () => unsentKeys().map((key) => localStorage.getItem(key)).filter(Boolean).map((text) => JSON.parse(text));
const keyOf = (click) => `${store}${String(click.order).padStart(16, "0")}:${click.identity}`;
const forget = (clicks) => clicks.forEach((click) => localStorage.removeItem(keyOf(click)));

async function ask(path, body) {
  const options = { headers: { "x-token": token, "content-type": "application/json" } };
  if (body) Object.assign(options, { method: "POST", body: JSON.stringify(body) });
  const answer = await fetch(path, options);
  const found = await answer.json().catch(() => ({ error: "The server refused the request." }));
  if (!answer.ok) throw Object.assign(new Error(found.error), { status: answer.status });
  return found;
}

function tell(sentence) {
  element("notice").textContent = sentence;
  element("notice").hidden = !sentence;
}

function decide(kind, label) {
  if (kind === "undo") return push({ kind });
  const item = again || shown[current];
  if (!item) return;
  push({ kind, image: item.image, ...(label === undefined ? {} : { label }) });
  if (again) again = null;
  else shown.splice(current, 1);
  current = Math.min(current, Math.max(shown.length - 1, 0));
  draw();
  fill();
}

let newest = 0;
function push(click) {
  newest = Math.max(Date.now(), newest + 1, ...unsent().map((one) => one.order + 1));
  const made = { ...click, by, identity: crypto.randomUUID(), order: newest };
  localStorage.setItem(keyOf(made), JSON.stringify(made));
  tellKept();
  send();
}

async function send() {
  if (isSending) return;
  isSending = true;
  let most = TOGETHER;
  try {
    for (let clicks = unsent(); clicks.length; clicks = unsent()) {
      const one = clicks[0].by;
      const part = [];
      for (const click of clicks) { if (click.by !== one || part.length === most) break; part.push(click); }
      let found = [];
      try {
        found = await ask("/clicks", { by: one, clicks: part });
      } catch (error) {
        if (error.status !== 400) throw error;
        // One that the server will never take takes none with it, and keeps none back.
        if (part.length > 1) { most = 1; continue; }
        tell(`Not recorded: ${error.message}`);
      }
      forget(part);
      part.forEach((click, place) => {
        const image = found[place] && found[place].image;
        if (click.kind === "undo" && image && click.by === by) bringBack(image);
      });
    }
    if (failing) { failing = ""; tell(""); }
  } catch (error) {
    failing = error.status ? error.message : "The server can't be reached.";
    tellKept();
    setTimeout(send, 1000);
  } finally {
    isSending = false;
    count();
  }
}

// Also at each click between two tries, so that the number is never an older one.
function tellKept() {
  if (failing) tell(`${failing} ${unsent().length} clicks are kept here and sent again.`);
}

function bringBack(item) {
  shown = shown.filter((one) => one.image !== item.image);
  shown.splice(current, 0, item);
  draw();
}

async function fill() {
  if (isAsking) { asksAgain = true; return; }
  isAsking = true;
  try {
    // What was labelled just now may arrive after this: without it, it would come again.
    const held = [...shown, ...unsent().filter((click) => click.image !== undefined)].map((item) => item.image);
    const wanted = Math.max(0, SHOWN - shown.length);
    const found = await ask("/images", { by, count: wanted, held });
    const lost = new Set(found.lost);
    const waiting = new Set([...unsent().map((click) => click.image), ...shown.map((i) => i.image)]);
    shown = shown.filter((item) => !lost.has(item.image));
    shown.push(...found.images.filter((item) => !waiting.has(item.image)));
    current = Math.min(current, Math.max(shown.length - 1, 0));
    draw();
    element("none").hidden = shown.length > 0;
  } catch (error) {
    // What is shown can be labelled, whether or not the server answers.
  } finally {
    isAsking = false;
  }
  if (asksAgain) { asksAgain = false; fill(); }
}

function card(item) {
  const made = document.createElement("button");
  made.className = "card";
  made.dataset.image = item.image;
  made.title = item.name;
  const picture = document.createElement("img");
  picture.src = `/thumbnails/${item.image}?token=${token}`;
  picture.alt = item.name;
  picture.loading = "lazy";
  picture.onerror = () => {
    if (shown.some((one) => one.image === item.image)) {
      shown = shown.filter((one) => one.image !== item.image);
      draw();
      fill();
    }
  };
  const words = document.createElement("span");
  made.append(picture, words);
  return made;
}

// Cards that stay are kept, so that no picture flickers.
function draw() {
  const old = new Map([...element("grid").children].map((one) => [Number(one.dataset.image), one]));
  const cards = shown.map((item, place) => {
    const made = old.get(item.image) || card(item);
    made.lastChild.textContent = item.label ? `was ${item.label}` : item.guess ? `${item.guess}?` : "\u00a0";
    made.toggleAttribute("aria-current", place === current && !again);
    made.onclick = () => { current = shown.findIndex((one) => one.image === item.image); again = null; draw(); };
    return made;
  });
  element("grid").replaceChildren(...cards);
  count();
}

function list(id, items) {
  if (element(id).contains(document.activeElement)) return; // not under the person's hand
  element(id).replaceChildren(...items.map((item) => {
    const made = card(item);
    made.lastChild.textContent = item.label || "no label";
    made.onclick = () => {
      again = item;
      document.querySelectorAll("[aria-current]").forEach((one) => one.removeAttribute("aria-current"));
      made.setAttribute("aria-current", "true");
    };
    return made;
  }));
}

let last = null;
function count() {
  if (!last) return;
  const waiting = unsent().length;
  const left = last.minutes_left === null ? "" : ` · about ${last.minutes_left} min left`;
  element("counts").textContent =
    `${last.label} labelled · ${last.skip} skipped · ${last.cant_tell} can't tell · ${last.open} open` +
    left + (waiting ? ` · ${waiting} not yet saved` : " · all saved") +
    (last.activity ? ` · ${last.activity}` : "");
}

function drawTraining(training) {
  const at = training && (training.epochs ? `epoch ${training.epochs_done} of ${training.epochs}` : "it begins");
  element("train").disabled = Boolean(training && training.is_running);
  element("training").textContent =
    !training ? "" : training.error ? `The training has stopped: ${training.error}`
    : training.is_running ? `Training: ${at}.` : `Trained. Figures and serving/1 are in ${training.run}`;
}

element("train").onclick = async () => {
  element("train").disabled = true;
  try {
    await ask("/training", {});
    await refresh();
  } catch (error) {
    element("train").disabled = false;
    element("training").textContent = error.message;
  }
};

async function refresh() {
  try {
    last = await ask("/state");
    if (last.training) drawTraining(last.training);
    if (!classes.length) { classes = last.classes; drawClasses(); }
    if (last.error) tell(last.error);
    count();
    drawCurve(last.rounds);
    element("advice").textContent = last.stop ? `You may stop. ${last.stop}` : "";
    element("saved").textContent = last.rounds.length
      ? `Labels saved so far: ${last.saved}, the open images times the accuracy that is sure, ${(100 * last.low).toFixed(0)} %.`
      : "";
    for (const id of ["suspicious", "replaced", "duplicates"]) {
      const all = last[id].length === last.listed ? " or more" : "";
      element(`${id}-count`).textContent = `${last[id].length}${all}`;
      list(id, last[id].flat());
    }
    element("unreadable-count").textContent = last.unreadable.length;
    element("unreadable").replaceChildren(...last.unreadable.map((name) => {
      const line = document.createElement("li");
      line.textContent = name;
      return line;
    }));
  } catch (error) { /* `send` tells of a server that is gone */ }
}

function drawClasses() {
  const others = [["U", "undo", "undo"], ["S", "skip", "skip"], ["?", "can't tell", "cant_tell"]];
  const all = [...classes.map((name, place) => [keysOf(place), name, "label", name]), ...others];
  element("classes").replaceChildren(...all.map(([key, words, kind, label]) => {
    const made = document.createElement("button");
    const hint = document.createElement("kbd");
    hint.textContent = key;
    made.append(hint, words);
    if (kind === "label") made.dataset.keys = key;
    made.onclick = () => decide(kind, label);
    return made;
  }));
}

function drawCurve(rounds) {
  if (!rounds.length) return;
  const most = Math.max(...rounds.map((row) => row.labels), 1);
  const x = (labels) => 44 + 268 * labels / most;
  const y = (accuracy) => 140 - 130 * accuracy;
  const points = (name) => rounds.map((row) => `${x(row.labels)},${y(row[name])}`);
  const shape = (tag, attributes, words) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (words) made.textContent = words;
    return made;
  };
  const parts = [
    shape("polygon", { points: [...points("low"), ...points("high").reverse()].join(" "), fill: "#0072b2", opacity: 0.2 }),
    shape("polyline", { points: points("accuracy").join(" "), fill: "none", stroke: "#0072b2", "stroke-width": 2 }),
  ];
  for (const row of rounds) {
    parts.push(shape("circle", { cx: x(row.labels), cy: y(row.accuracy), r: 3, fill: "#0072b2" }));
  }
  for (const part of [0, 0.5, 1]) {
    parts.push(shape("line", { x1: 44, x2: 312, y1: y(part), y2: y(part), stroke: "#ccc" }));
    parts.push(shape("text", { x: 40, y: y(part) + 4, "font-size": 11, "text-anchor": "end" }, `${100 * part} %`));
  }
  parts.push(shape("text", { x: 312, y: 156, "font-size": 11, "text-anchor": "end" }, `${most} labels`));
  element("curve").replaceChildren(...parts);
}

// More than nine classes have two digits each, of which the first one may have been typed.
let typed = "";
const keysOf = (place) => String(place + 1).padStart(classes.length > 9 ? 2 : 1, "0");

function type(keys) {
  typed = keys;
  for (const made of document.querySelectorAll("#classes button[data-keys]")) {
    made.toggleAttribute("data-typed", keys !== "" && made.dataset.keys.startsWith(keys));
  }
}

document.addEventListener("keydown", (event) => {
  if (event.repeat || ["Shift", "Control", "Alt", "Meta"].includes(event.key)) return;
  const isUndo = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z";
  if (!isUndo && (event.ctrlKey || event.metaKey || event.altKey)) return;
  const digit = /^(?:Digit|Numpad)([0-9])$/.exec(event.code);
  const key = digit && !event.shiftKey ? digit[1] : event.key;
  const keys = typed + key;
  type("");
  if (isUndo || event.key.toLowerCase() === "u") decide("undo");
  else if (event.key.toLowerCase() === "s") decide("skip");
  else if (event.key === "?") decide("cant_tell");
  else if (/^[0-9]$/.test(key)) {
    const place = classes.findIndex((_, each) => keysOf(each) === keys);
    if (place >= 0) decide("label", classes[place]);
    else if (classes.some((_, each) => keysOf(each).startsWith(keys))) type(keys);
    else return;
  }
  else if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
    const step = event.key === "ArrowRight" ? 1 : -1;
    current = Math.min(Math.max(current + step, 0), Math.max(shown.length - 1, 0));
    again = null;
    draw();
    document.querySelector("#grid [aria-current]")?.scrollIntoView({ block: "nearest" });
  } else return;
  event.preventDefault();
});

takeName().then(refresh).then(fill).then(send);
setInterval(refresh, 2000);
setInterval(fill, 20000); // also keeps what is shown for this tab
