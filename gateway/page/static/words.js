// Numbers and times as people read them. Nothing here touches the page.

const NONE = "–";

export function count(number) {
  return number == null ? NONE : number.toLocaleString("en-US");
}

// Three digits that count: 0.12, 8.1, 12.3, 214.
function digits(number) {
  if (number === 0) return "0";
  if (number < 0.995) return number.toFixed(2);
  return number < 99.95 ? number.toFixed(1) : Math.round(number).toString();
}

function scaled(number, step, units) {
  let place = 0;
  while (number >= 0.9995 * step && place < units.length - 1) {
    number /= step;
    place += 1;
  }
  return `${place ? digits(number) : Math.round(number)} ${units[place]}`;
}

export function bits(bytesPerSecond) {
  return scaled(8 * bytesPerSecond, 1000, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"]);
}

export function bytes(number) {
  return number == null ? NONE : scaled(number, 1000, ["B", "kB", "MB", "GB", "TB", "PB"]);
}

export function perSecond(number) {
  return number < 10 && number % 1 ? number.toFixed(1) : count(Math.round(number));
}

export function milliseconds(microseconds) {
  return microseconds != null ? `${digits(microseconds / 1000)} ms` : NONE;
}

export function percent(share, of = 1) {
  if (share == null) return NONE;
  const found = (100 * share) / of;
  return found > 0 && found < 9.95 ? `${found.toFixed(1)} %` : `${Math.round(found)} %`;
}

// The two largest units: 3 d 4 h, 12 min, 8 s.
export function duration(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const parts = [
    [Math.floor(seconds / 86400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [seconds % 60, "s"],
  ];
  const first = parts.findIndex(([number]) => number);
  if (first < 0) return "0 s";
  const shown = parts.slice(first, first + (first < 2 ? 2 : 1));
  return shown.filter(([number]) => number).map(([number, unit]) => `${number} ${unit}`).join(" ");
}

export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}
