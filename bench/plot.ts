import type { Growth } from './growth.js'

const size = { width: 760, height: 400 }
/** Where the axes lie in the drawing. */
const area = { left: 64, right: 590, top: 40, bottom: 340 }
const middle = (area.left + area.right) / 2

interface Curve {
  readonly name: string
  readonly style: string
  readonly of: (point: Growth) => number
}

const [red, blue, dashed] = ['#c0392b', '#2471a3', ' stroke-dasharray="6 4"']
const curves: readonly Curve[] = [
  { name: 'official suite, ADD', style: `stroke="${red}"`, of: ({ official }) => official.add },
  { name: 'official suite, DEL', style: `stroke="${red}"${dashed}`, of: ({ official }) => official.del },
  { name: 'podwire, ADD', style: `stroke="${blue}"`, of: ({ podwire }) => podwire.add },
  { name: 'podwire, DEL', style: `stroke="${blue}"${dashed}`, of: ({ podwire }) => podwire.del },
]

/** An SVG of both suites' ADD and DEL against the number of attachments. */
export function plot(points: readonly Growth[]): string {
  const step = niceStep(Math.max(...curves.flatMap(({ of }) => points.map(of))) / 6)
  const steps = Math.ceil(Math.max(...curves.flatMap(({ of }) => points.map(of))) / step)
  const x = (attachments: number) =>
    area.left + (attachments / (points.at(-1)?.attachments || 1)) * (area.right - area.left)
  const y = (ms: number) => area.bottom - (ms / (steps * step)) * (area.bottom - area.top)
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" width="${size.width}" height="${size.height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${size.width}" height="${size.height}" fill="white"/>`,
    text(middle, 20, 'One more attachment by the chain bridge, portmap (2 ports), firewall, tuning', 'font-size="14"'),
    ...Array.from({ length: steps + 1 }, (_, index) => horizontal(y(index * step), index * step)),
    ...points.map(({ attachments }) => vertical(x(attachments), attachments)),
    text(middle, size.height - 14, 'attachments present on the host'),
    text(
      0,
      0,
      'wall time, milliseconds (median)',
      `transform="translate(18 ${(area.top + area.bottom) / 2}) rotate(-90)"`,
    ),
    ...curves.flatMap((curve) =>
      line(
        curve,
        points.map((point) => [x(point.attachments), y(curve.of(point))]),
      ),
    ),
    ...curves.map((curve, index) => legend(curve, area.top + 10 + index * 22)),
    '</svg>',
    '',
  ].join('\n')
}

// --- internal

/** The least of 1, 2, 5, 10, 20, 50, ... that is not below. */
function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least))
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least) ?? 10 * power
}

function text(x: number, y: number, words: string, more = ''): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="middle" ${more}>${words}</text>`
}

function horizontal(y: number, ms: number): string {
  const grid = `<line x1="${area.left}" x2="${area.right}" y1="${y.toFixed(1)}" y2="${y.toFixed(1)}" stroke="${ms === 0 ? '#555' : '#ddd'}"/>`
  return `${grid}<text x="${area.left - 8}" y="${(y + 4).toFixed(1)}" text-anchor="end">${ms}</text>`
}

function vertical(x: number, attachments: number): string {
  const tick = `<line x1="${x.toFixed(1)}" x2="${x.toFixed(1)}" y1="${area.bottom}" y2="${area.bottom + 5}" stroke="#555"/>`
  return tick + text(x, area.bottom + 20, attachments.toLocaleString('en'))
}

function line({ style }: Curve, at: readonly (readonly [number, number])[]): readonly string[] {
  const path = at.map((point) => point.map((part) => part.toFixed(1)).join(',')).join(' ')
  const dots = at.map(
    ([x, y]) => `<circle cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="3" fill="white" ${style.replace(dashed, '')}/>`,
  )
  return [`<polyline points="${path}" fill="none" stroke-width="2" ${style}/>`, ...dots]
}

function legend({ name, style }: Curve, y: number): string {
  const x = area.right + 16
  const sample = `<line x1="${x}" x2="${x + 28}" y1="${y}" y2="${y}" stroke-width="2" ${style}/>`
  return `${sample}<text x="${x + 36}" y="${y + 4}">${name}</text>`
}
