// SPDX-License-Identifier: MIT
// The timeline of the page of `make trace`: a track for each vCPU and pCPU, and the part of time
// that all pictures are about. Times are ticks since the first event.

const GUEST = data.groups.indexOf("guest"), HALTED = data.groups.indexOf("halted");
const TURN = data.groups.indexOf("turn");
const END = Math.max(data.end, 1); // of the trace
const view = { vm: 0, from: 0, to: END, track: 0, slice: 0, only: null };

for (const track of data.tracks) {
    const count = track.slices.length / 4;
    track.name = track.vm ? `VM ${track.vm} ${nameOf(track.vm)}, vCPU ${track.number}`
        : `pCPU ${track.number}`;
    [track.begin, track.ticks, track.cause, track.times] =
        [0, 1, 2, 3].map((of) => Float64Array.from({ length: count },
            (_, i) => track.slices[4 * i + of]));
    delete track.slices;
}

function nameOf(vm) {
    return (data.vms.find(([number]) => number === vm) || [0, "?"])[1];
}
const groupOf = (cause) => data.causes[cause][0];
const isExit = (cause) => ![GUEST, HALTED, TURN].includes(groupOf(cause));
const inWords = (cause) => data.causes[cause].slice(1).filter(Boolean).join(" › ");

function inTime(ticks) {
    const us = ticks * 1000 / data.khz, size = Math.abs(us);
    if (size >= 999_500)
        return `${Number((us / 1e6).toPrecision(4))} s`;
    if (size >= 999.5)
        return `${Number((us / 1000).toPrecision(4))} ms`;
    return size >= 1 || !size ? `${Number(us.toPrecision(3))} µs`
        : `${Math.round(us * 1000)} ns`;
}
const many = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;

const shownTracks = () => data.tracks.filter((t) => !view.vm || t.vm === view.vm);
const track = () => data.tracks[view.track];

// The first slice of a track that ends after a moment.
function firstAfter(of, moment) {
    let low = 0, high = of.begin.length;
    while (low < high) {
        const middle = (low + high) >> 1;
        if (of.begin[middle] + of.ticks[middle] <= moment)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// ---- Drawing -------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg", HEAD = 20, ROW = 36, STEP = HEAD + ROW + 6, AXIS = 22;

function shape(tag, attributes, text) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes))
        made.setAttribute(name, value);
    if (text !== undefined)
        made.textContent = text;
    return made;
}

// An SVG whose units are pixels.
function resize(svg, height) {
    const width = Math.max(svg.parentElement.clientWidth - 26, 200);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.style.height = `${height}px`;
    return width;
}

// The shares of the groups in the time of each column, from the first column on.
function columns(of, from, to, width, unit) {
    const perColumn = (to - from) / width * unit, count = Math.ceil(width / unit);
    const shares = Array.from({ length: count }, () => null);
    for (let i = firstAfter(of, from); i < of.begin.length && of.begin[i] < to; i++) {
        const group = groupOf(of.cause[i]);
        const first = Math.max(of.begin[i], from), last = Math.min(of.begin[i] + of.ticks[i], to);
        let column = Math.floor((first - from) / perColumn);
        const end = Math.min(Math.floor((last - from) / perColumn), count - 1);
        for (; column <= end; column++) {
            const here = shares[column] ||= new Float64Array(data.groups.length);
            const start = from + column * perColumn;
            here[group] += (Math.min(last, start + perColumn) - Math.max(first, start)) / perColumn;
            if (!here[group])
                here[group] = 1e-9; // it is there
        }
    }
    return shares;
}

// A path for each group. The ground is the guest; each reason that is there has at least a line.
function paths(shares, top, height, unit) {
    const found = data.groups.map(() => []);
    const put = (group, column, y, h) => {
        const last = found[group].at(-1);
        if (last && last.column + last.count === column && last.y === y && last.h === h)
            last.count++;
        else
            found[group].push({ column, count: 1, y, h });
    };
    shares.forEach((here, column) => {
        if (!here)
            return;
        let y = top + height;
        for (const group of [TURN, GUEST, HALTED]) {
            if (here[group] > 0)
                put(group, column, top, height);
        }
        for (let group = 0; group < here.length; group++) {
            if (!here[group] || [TURN, GUEST, HALTED].includes(group))
                continue;
            const full = here[group] > 0.999;
            const h = full ? height : Math.max(1.5, Math.round(here[group] * height * 4) / 4);
            y = Math.max(top, y - h);
            put(group, column, full ? top : y, h);
        }
    });
    return found.map((boxes) => boxes.map((b) =>
        `M${b.column * unit} ${b.y}h${b.count * unit}v${b.h}h${-b.count * unit}z`).join(""));
}

function drawTrack(svg, of, top, width) {
    svg.append(shape("text", { class: "name", x: 2, y: top + 14 }, of.name));
    svg.append(shape("rect", { class: "ground", x: 0, y: top + HEAD, width, height: ROW }));
    const unit = width > 1500 ? 2 : 1;
    paths(columns(of, view.from, view.to, width, unit), top + HEAD, ROW, unit).forEach((d, group) => {
        if (d)
            svg.append(shape("path", { class: `k k${group}`, "data-group": group, d }));
    });
    const scale = width / (view.to - view.from);
    for (let i = firstAfter(of, view.from), labels = 0;
        labels < 200 && i < of.begin.length && of.begin[i] < view.to; i++) {
        const x = Math.max((of.begin[i] - view.from) * scale, 0);
        const end = Math.min((of.begin[i] + of.ticks[i] - view.from) * scale, width);
        const [group, ...words] = data.causes[of.cause[i]], name = words.filter(Boolean);
        if (end - x < 40)
            continue;
        const text = name.slice().reverse().map((_, n) => name.slice(0, name.length - n).join(" › "))
            .find((t) => t.length * 6.6 + 10 < end - x);
        if (end - x < width && x > 0)
            svg.append(shape("path", { class: "edge", d: `M${x} ${top + HEAD}v${ROW}` }));
        if (text) {
            svg.append(shape("text", { class: `label on${group}`, x: x + 5, y: top + HEAD + 22,
                style: `fill:var(--on${group})` }, text));
            labels++;
        }
    }
}

function drawAxis(svg, width, height) {
    const span = view.to - view.from, rough = span / Math.max(width / 110, 2);
    const power = 10 ** Math.floor(Math.log10(rough * 1e6 / data.khz)), ns = power * data.khz / 1e6;
    const step = ns * ([1, 2, 5, 10].find((n) => n * ns >= rough) || 10);
    let d = "";
    for (let at = Math.ceil(view.from / step) * step; at <= view.to; at += step) {
        const x = (at - view.from) / span * width;
        d += `M${x} ${AXIS - 6}V${height}`;
        if (x < width - 50)
            svg.append(shape("text", { x: x + 3, y: 12 }, inTime(at)));
    }
    svg.prepend(shape("path", { class: "tick", d }));
}

function drawTime() {
    const svg = $("time"), of = shownTracks(), height = AXIS + of.length * STEP;
    const width = resize(svg, height), scale = width / (view.to - view.from);
    svg.replaceChildren();
    drawAxis(svg, width, height);
    of.forEach((t, i) => drawTrack(svg, t, AXIS + i * STEP, width));
    for (const [, , at] of data.gaps) {
        if (at >= view.from && at <= view.to)
            svg.append(shape("path", { class: "gap", d: `M${(at - view.from) * scale} 0V${height}` }));
    }
    svg.append(shape("g", { id: "cursor" }), shape("rect", { class: "drag", id: "drag", width: 0,
        height, y: 0, visibility: "hidden" }));
    $("window").textContent = view.from === 0 && view.to === END
        ? `the whole run, ${inTime(data.end)}`
        : `${inTime(view.from)} to ${inTime(view.to)}, which is ${inTime(view.to - view.from)}`;
    placeCursor();
    drawOverview();
}

function drawOverview() {
    const svg = $("overview"), width = resize(svg, 22), sums = [];
    for (const t of shownTracks().filter((t) => t.vm)) {
        columns(t, 0, END, width, 2).forEach((here, i) => {
            sums[i] ||= new Float64Array(data.groups.length);
            (here || []).forEach((share, group) => sums[i][group] += share);
        });
    }
    const count = shownTracks().filter((t) => t.vm).length || 1;
    svg.replaceChildren(shape("rect", { class: "ground", width, height: 22 }));
    paths(sums.map((here) => here.map((share) => share / count)), 0, 22, 2).forEach((d, group) => {
        if (d)
            svg.append(shape("path", { class: `k${group}`, d }));
    });
    const x = view.from / END * width, end = view.to / END * width;
    svg.append(shape("rect", { class: "outside", width: x, height: 22 }),
        shape("rect", { class: "outside", x: end, width: Math.max(width - end, 0), height: 22 }),
        shape("rect", { class: "shown", x: x + 0.75, y: 0.75, height: 20.5,
            width: Math.max(end - x - 1.5, 2) }));
}

// ---- The cursor ----------------------------------------------------------------------------

function placeCursor() {
    const row = shownTracks().indexOf(track()), of = track(), i = view.slice;
    const width = Number($("time").getAttribute("viewBox").split(" ")[2]);
    const scale = width / (view.to - view.from);
    $("cursor").replaceChildren();
    if (row < 0 || !of.begin.length)
        return;
    const x = (of.begin[i] - view.from) * scale, size = Math.max(of.ticks[i] * scale, 3);
    if (x + size >= 0 && x <= width) {
        const box = { x: Math.max(x, 1), y: AXIS + row * STEP + HEAD - 1, height: ROW + 2, rx: 2,
            width: Math.min(x + size, width - 1) - Math.max(x, 1) };
        $("cursor").append(shape("rect", { class: "chosen-halo", ...box }),
            shape("rect", { class: "chosen", ...box }));
    }
    $("time").setAttribute("aria-label", `Timeline, ${$("window").textContent}. ${of.name}: ` +
        `${inWords(of.cause[i])}, ${inTime(of.ticks[i])}, at ${inTime(of.begin[i])}`);
}

function select(trackNumber, slice) {
    const of = data.tracks[trackNumber];
    view.track = trackNumber;
    view.slice = Math.max(0, Math.min(slice, of.begin.length - 1));
    const begin = of.begin[view.slice], end = begin + of.ticks[view.slice];
    if (end < view.from || begin > view.to)
        show(begin - (view.to - view.from) / 2, begin + (view.to - view.from) / 2);
    else
        placeCursor();
    showEntry();
}

// An exit with all that happened in it.
function showEntry() {
    const of = track(), i = view.slice, list = element("ol", { className: "inside" });
    if (!of || !of.begin.length)
        return $("entry-text").replaceChildren("Nothing.");
    const [group, reason, what, detail] = data.causes[of.cause[i]], times = of.times[i];
    const lines = data.details && of.vm ? data.details[view.track][i].split("\n") : [];
    for (const line of lines.slice(1)) {
        const [, at, name, values] = line.match(/^\+(\d+) (\S+) ?(.*)$/s);
        list.append(element("li", {}, element("span", { className: "at",
            textContent: `+${inTime(Number(at))}` }), element("b", { textContent: name }),
        element("div", { className: "mono", textContent: values })));
    }
    $("entry-text").replaceChildren(
        element("div", { className: "what" }, swatch(group), reason),
        ...[what && element("p", { textContent: detail ? `${what}: ${detail}` : what }),
            element("p", { textContent: `${inTime(of.ticks[i])} (${many(of.ticks[i], "tick")}) at ` +
                `${inTime(of.begin[i])}` }),
            element("p", { className: "faint", textContent: of.name }),
            times > 1 && element("p", { className: "now",
                textContent: `${many(times, "slice")} of this cause, put together` }),
            lines[0] && element("p", { className: "mono", textContent: lines[0] }),
            list].filter(Boolean));
}

// ---- The part of time ----------------------------------------------------------------------

function show(from, to) {
    const span = Math.min(Math.max(to - from, 200), END);
    view.from = Math.max(0, Math.min((from + to - span) / 2, END - span));
    view.to = view.from + span;
    drawAll();
}

// Around a moment that keeps its place, by default the middle of the slice under the cursor.
function zoomTime(factor, at) {
    const of = track();
    at ??= of && of.begin[view.slice] + of.ticks[view.slice] / 2;
    if (!(at >= view.from && at <= view.to))
        at = (view.from + view.to) / 2;
    show(at - (at - view.from) * factor, at + (view.to - at) * factor);
}

function pan(by) {
    const span = view.to - view.from;
    show(view.from + by * span, view.to + by * span);
    select(view.track, firstAfter(track(), (view.from + view.to) / 2));
}

function moveTrack(by) {
    const of = shownTracks(), next = of[of.indexOf(track()) + by];
    if (next) {
        const here = track().begin[view.slice] ?? view.from;
        const at = here >= view.from && here <= view.to ? here : view.from;
        select(data.tracks.indexOf(next), firstAfter(next, at));
    }
}

// The next slice of the same cause.
function nextAlike(by) {
    const of = track(), cause = of.cause[view.slice];
    for (let i = view.slice + by; i >= 0 && i < of.begin.length; i += by) {
        if (of.cause[i] === cause)
            return select(view.track, i);
    }
    say(`${inWords(cause)}: there is no ${by > 0 ? "later" : "earlier"} one on this track.`);
}

if (data.tracks.length) partKeys.push(["#time", {
    ArrowLeft: () => select(view.track, view.slice - 1),
    ArrowRight: () => select(view.track, view.slice + 1),
    ArrowUp: () => moveTrack(-1),
    ArrowDown: () => moveTrack(1),
    PageUp: () => pan(-0.9),
    PageDown: () => pan(0.9),
    Home: () => select(view.track, 0),
    End: () => select(view.track, Infinity),
    Enter: () => zoomTime(1 / 3),
    "+": () => zoomTime(1 / 3),
    Escape: () => zoomTime(3),
    "-": () => zoomTime(3),
    n: () => nextAlike(1),
    N: () => nextAlike(-1),
}]);

// ---- The pointer ---------------------------------------------------------------------------

function momentAt(svg, event) {
    const box = svg.getBoundingClientRect();
    return view.from + (event.clientX - box.left) / box.width * (view.to - view.from);
}

function sliceAt(event) {
    const row = Math.floor((event.clientY - $("time").getBoundingClientRect().top - AXIS) / STEP);
    const of = shownTracks()[row], moment = momentAt($("time"), event);
    if (!of)
        return null;
    const near = (view.to - view.from) / $("time").clientWidth, i = firstAfter(of, moment);
    return i < of.begin.length && of.begin[i] <= moment + near ? [data.tracks.indexOf(of), i] : null;
}

const time = $("time");
let dragged = null;
time.addEventListener("pointerdown", (event) => {
    dragged = event.button === 0 ? { x: event.clientX, moment: momentAt(time, event) } : null;
});
time.addEventListener("pointermove", (event) => {
    if (dragged && event.buttons & 1) {
        const box = time.getBoundingClientRect(), [a, b] = [dragged.x, event.clientX]
            .sort((x, y) => x - y);
        time.setPointerCapture(event.pointerId);
        for (const [name, value] of Object.entries({ x: a - box.left, width: b - a,
            visibility: "visible" }))
            $("drag").setAttribute(name, value);
        return tip();
    }
    const found = sliceAt(event);
    if (!found)
        return tip();
    const of = data.tracks[found[0]], i = found[1];
    tip(event, inWords(of.cause[i]), `${inTime(of.ticks[i])} at ${inTime(of.begin[i])}, ${of.name}` +
        (of.times[i] > 1 ? `, ${of.times[i]} of them` : ""));
});
time.addEventListener("pointerup", (event) => {
    const from = dragged;
    dragged = null;
    $("drag").setAttribute("visibility", "hidden");
    if (from && Math.abs(event.clientX - from.x) > 4) {
        const [a, b] = [from.moment, momentAt(time, event)].sort((x, y) => x - y);
        return show(a, b);
    }
    const found = sliceAt(event);
    if (from && found)
        select(...found);
});
time.addEventListener("pointerleave", () => tip());
time.addEventListener("wheel", (event) => {
    if (event.ctrlKey) {
        event.preventDefault();
        zoomTime(event.deltaY > 0 ? 1.25 : 0.8, momentAt(time, event));
    } else if (event.shiftKey || event.deltaX) {
        event.preventDefault();
        const by = (event.deltaX || event.deltaY) / 1000 * (view.to - view.from);
        show(view.from + by, view.to + by);
    }
}, { passive: false });
$("overview").addEventListener("click", (event) => {
    const box = $("overview").getBoundingClientRect(), half = (view.to - view.from) / 2;
    const at = (event.clientX - box.left) / box.width * END;
    show(at - half, at + half);
});
$("zoom-in").addEventListener("click", () => zoomTime(1 / 3));
$("zoom-out").addEventListener("click", () => zoomTime(3));
$("whole").addEventListener("click", () => show(0, END));
