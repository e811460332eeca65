// Draws the page's charts from the JSON beside it, in the colours of the page's own style.
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("charts").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const PALETTE = ["teacher", "baseline", "pseudo-labels", "student", "supervised", "hurts", "linear"];
  const SHAPES = { onnx: "circle", "onnx-int8": "diamond", pt2: "triangle", safetensors: "rect" };
  const drawn = new Map();

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const escape = (text) => String(text).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
  const unique = (values) => [...new Set(values)];
  const digits = (value, count) => Number(value.toPrecision(count)).toLocaleString("en", { maximumSignificantDigits: count });

  // A model's own colour; anything else takes the next of the palette, by its place.
  const colours = (keys) => new Map(keys.map((key, place) => [key, css(`--${key}`) || css(`--${PALETTE[place % PALETTE.length]}`)]));

  const axis = (rest) => ({
    axisLine: { lineStyle: { color: css("--line") } },
    axisTick: { show: false },
    axisLabel: { color: css("--muted"), fontSize: 11, hideOverlap: true, ...rest.axisLabel },
    splitLine: { lineStyle: { color: css("--soft") } },
    nameTextStyle: { color: css("--muted"), fontSize: 11, ...rest.nameTextStyle },
    nameLocation: rest.nameLocation || "middle",
    ...Object.fromEntries(Object.entries(rest).filter(([name]) => !["axisLabel", "nameTextStyle", "nameLocation"].includes(name))),
  });

  // How many lines a legend takes: each entry has its sign and a gap beside its text.
  const ruler = document.createElement("canvas").getContext("2d");
  const lines = (names, width) => names.reduce(([rows, used], name) => {
    ruler.font = `12px ${css("--font")}`;
    const need = 34 + ruler.measureText(name).width;
    return used + need > width && used > 0 ? [rows + 1, need] : [rows, used + need];
  }, [1, 0])[0];

  const base = (names, width, rest) => ({
    animation: false,
    textStyle: { fontFamily: css("--font") },
    legend: { data: names, top: 4, left: 0, right: 0, itemWidth: 14, itemHeight: 9, itemGap: 14, icon: "roundRect",
      textStyle: { color: css("--ink"), fontSize: 12 }, inactiveColor: css("--line") },
    grid: { left: 8, right: 18, top: 20 + 21 * lines(names, width), bottom: 28, containLabel: true },
    ...rest,
    tooltip: { confine: true, backgroundColor: css("--surface"), borderColor: css("--line"), padding: [8, 12],
      textStyle: { color: css("--ink"), fontSize: 12 }, extraCssText: "box-shadow: 0 4px 18px rgba(0,0,0,.16)", ...rest.tooltip },
  });

  const dot = (colour) => `<span style="display:inline-block;width:9px;height:9px;border-radius:50%;margin-right:7px;background:${colour}"></span>`;
  const line = (colour, name, text) => `<div style="display:flex;gap:18px;justify-content:space-between"><span>${dot(colour)}${escape(name)}</span><b>${escape(text)}</b></div>`;

  function curves(chart, width) {
    const keys = unique(chart.lines.map((entry) => entry.key));
    const colour = colours(keys);
    const text = (value) => (chart.log ? digits(value, 3) : value.toFixed(4));
    return base(unique(chart.lines.map((entry) => entry.name)), width, {
      xAxis: axis({ type: "value", min: 0, max: "dataMax", name: "steps", nameGap: 24, splitLine: { show: false } }),
      yAxis: axis({ type: chart.log ? "log" : "value", scale: true, axisLabel: { formatter: (value) => digits(value, 3) } }),
      tooltip: { trigger: "axis", axisPointer: { lineStyle: { color: css("--muted") } },
        formatter: (found) => {
          const rows = unique(found.map((entry) => entry.seriesName)).map((name) => {
            const own = found.filter((entry) => entry.seriesName === name);
            const mean = own.reduce((sum, entry) => sum + entry.value[1], 0) / own.length;
            return line(own[0].color, own.length > 1 ? `${name} (mean of ${own.length})` : name, text(mean));
          });
          return found.length ? `Step ${escape(digits(found[0].value[0], 6))}${rows.join("")}` : "";
        } },
      series: chart.lines.map((entry) => ({
        type: "line", name: entry.name, data: entry.points, showSymbol: entry.points.length < 2, symbol: "circle", symbolSize: 4,
        color: colour.get(entry.key), lineStyle: { width: entry.key === "student" ? 2.2 : 1.5, opacity: 0.85 },
        z: entry.key === "student" ? 4 : 3,
      })),
    });
  }

  function scatter(chart, width) {
    const keys = unique(chart.points.map((point) => point.key));
    const colour = colours(keys);
    const shown = (key) => chart.points.filter((point) => point.key === key);
    const xs = chart.points.map((point) => point.x);
    const wide = Math.max(...xs) / Math.min(...xs) > 12;
    const hollow = (point) => (chart.front ? !point.front : !point.format);
    return base(keys.map((key) => shown(key)[0].name), width, {
      xAxis: axis({ name: chart.x, nameGap: 26, splitLine: { show: false },
        ...(wide ? { type: "log", min: Math.min(...xs) / 2, max: Math.max(...xs) * 2 } : { type: "value", min: 0 }),
        axisLabel: { formatter: (value) => digits(value, 2), showMinLabel: !wide, showMaxLabel: !wide } }),
      yAxis: axis({ type: "value", scale: true, boundaryGap: ["6%", "8%"],
        max: ({ min, max }) => (max <= 1 && max + 0.25 * (max - min) > 1 ? 1 : null), // a share ends at 1
        axisLabel: { formatter: (value) => digits(value, 3) } }),
      tooltip: { trigger: "item", formatter: ({ data: { point }, color }) =>
        `<b>${escape(point.name)}</b> ${escape(point.format)}${line(colour.get(point.key), chart.y, point.y.toFixed(4))}${line("transparent", chart.x, digits(point.x, 3))}` },
      series: keys.map((key) => ({
        type: "scatter", name: shown(key)[0].name, color: colour.get(key),
        data: shown(key).map((point) => ({
          point, value: [point.x, point.y], symbol: SHAPES[point.format] || "circle", symbolSize: hollow(point) ? 10 : 14,
          itemStyle: hollow(point) ? { color: css("--surface"), borderColor: colour.get(key), borderWidth: 2 } : { borderColor: css("--surface"), borderWidth: 1 },
        })),
        emphasis: { scale: 1.25 },
        z: key === "student" ? 4 : 3,
      })),
    });
  }

  function reliability(chart, width) {
    const colour = colours(chart.lines.map((entry) => entry.key));
    const share = (value) => `${Math.round(value * 100)} %`;
    return base(chart.lines.map((entry) => entry.name), width, {
      xAxis: axis({ type: "value", min: 0, max: 1, name: "confidence", nameGap: 24, axisLabel: { formatter: share } }),
      yAxis: axis({ type: "value", min: 0, max: 1, axisLabel: { formatter: share } }),
      tooltip: { trigger: "item", formatter: ({ seriesName, value, color }) => value[2] === undefined ? "" :
        `${line(color, seriesName, "")}${line("transparent", "sure", `${(value[0] * 100).toFixed(1)} %`)}${line("transparent", "right", `${(value[1] * 100).toFixed(1)} %`)}${line("transparent", "samples", value[2].toLocaleString("en"))}` },
      series: [
        { type: "line", data: [[0, 0], [1, 1]], silent: true, symbol: "none", color: css("--muted"), lineStyle: { type: "dashed", width: 1, opacity: 0.8 }, tooltip: { show: false } },
        ...chart.lines.map((entry) => {
          const most = Math.max(...entry.points.map((point) => point[2]));
          return { type: "line", name: entry.name, data: entry.points, color: colour.get(entry.key), symbol: "circle",
            symbolSize: (value) => 5 + 13 * Math.sqrt(value[2] / most), itemStyle: { opacity: 0.8 }, lineStyle: { width: 1.6 },
            z: entry.key === "student" ? 4 : 3 };
        }),
      ],
    });
  }

  const KINDS = { curves, scatter, reliability };

  function draw(box) {
    const chart = data[box.dataset.chart];
    if (!drawn.has(box)) drawn.set(box, echarts.init(box, null, { renderer: "canvas" }));
    const found = drawn.get(box);
    found.resize();
    found.setOption(KINDS[chart.kind](chart, box.clientWidth), { notMerge: true });
  }

  const boxes = [...document.querySelectorAll("[data-chart]")];
  const all = () => boxes.forEach(draw);
  dark.addEventListener("change", all);
  const watch = new ResizeObserver((found) => found.forEach((entry) => draw(entry.target)));
  boxes.forEach((box) => watch.observe(box));
})();
