import { execFileSync } from 'node:child_process'
import { median, type Suite } from './measure.js'
import { firstPort, podmanChain, runChain } from './sections.js'

/** What one more attachment costs (milliseconds, medians) when so many are there already. */
export interface Growth {
  readonly attachments: number
  readonly podwire: Cost
  readonly official: Cost
}

interface Cost {
  readonly add: number
  readonly del: number
}

const suites = (process.env['BENCH_SUITES']?.split(',') ?? ['podwire', 'official']) as readonly Suite[]
const steps = [0, 500, 1_000]

/**
 * The default chain at growing numbers of attachments. Both suites grow side by side in one host, each among the other's rules too; with
 * BENCH_SUITES=podwire (or official) that one grows alone, and the other's figures are not numbers.
 */
export function growth(): readonly Growth[] {
  let present = 0
  return steps.map((attachments) => {
    for (; present < attachments; present++) {
      for (const suite of suites) addForGood(suite, present)
    }
    const cost = { podwire: [] as Cost[], official: [] as Cost[] }
    for (let round = 0; round < 5; round++) {
      for (const suite of suites) {
        const chain = podmanChain(2, firstPort)
        const id = `${suite}-next-${round}`
        cost[suite].push({ add: runChain(suite, 'ADD', chain, id), del: runChain(suite, 'DEL', chain, id) })
      }
    }
    return { attachments, podwire: medians(cost.podwire), official: medians(cost.official) }
  })
}

/** An SVG of both suites' ADD and DEL against the number of attachments. */
export function plot(points: readonly Growth[]): string {
  const [width, height, left, bottom] = [640, 360, 60, 40]
  const most = Math.max(
    ...points.flatMap(({ podwire, official }) => [podwire.add, podwire.del, official.add, official.del]),
  )
  const last = points.at(-1)?.attachments ?? 1
  const x = (attachments: number) => left + (attachments / last) * (width - left - 150)
  const y = (ms: number) => height - bottom - (ms / most) * (height - bottom - 20)
  const curves = [
    { name: 'official ADD', colour: '#c0392b', dash: '', of: ({ official }: Growth) => official.add },
    { name: 'official DEL', colour: '#c0392b', dash: '6 4', of: ({ official }: Growth) => official.del },
    { name: 'podwire ADD', colour: '#2471a3', dash: '', of: ({ podwire }: Growth) => podwire.add },
    { name: 'podwire DEL', colour: '#2471a3', dash: '6 4', of: ({ podwire }: Growth) => podwire.del },
  ]
  const drawn = curves.map(({ name, colour, dash, of }, index) => {
    const path = points.map((point) => `${x(point.attachments).toFixed(1)},${y(of(point)).toFixed(1)}`).join(' ')
    const stroke = `fill="none" stroke="${colour}" stroke-width="2" stroke-dasharray="${dash}"`
    const label = `<text x="${width - 120}" y="${40 + index * 20}" fill="${colour}">${name}</text>`
    return `<polyline points="${path}" ${stroke}/><line x1="${width - 145}" x2="${width - 125}" y1="${36 + index * 20}" y2="${36 + index * 20}" ${stroke}/>${label}`
  })
  const marks = points.map(
    ({ attachments }) => `<text x="${x(attachments)}" y="${height - 20}" text-anchor="middle">${attachments}</text>`,
  )
  const scale = [0, 0.5, 1].map(
    (part) => `<text x="${left - 8}" y="${y(most * part) + 4}" text-anchor="end">${(most * part).toFixed(0)}</text>`,
  )
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="white"/>`,
    `<polyline points="${left},20 ${left},${height - bottom} ${width - 150},${height - bottom}" fill="none" stroke="#555"/>`,
    ...scale,
    ...marks,
    `<text x="${left}" y="14">milliseconds for one more attachment</text>`,
    `<text x="${(width - 150 + left) / 2}" y="${height - 4}" text-anchor="middle">attachments present</text>`,
    ...drawn,
    '</svg>',
    '',
  ].join('\n')
}

// --- internal

/** An attachment that stays, in a namespace of its own. */
function addForGood(suite: Suite, index: number): void {
  const chain = podmanChain(2, (one) => firstPort(one) + 25_000 + index * 4)
  const name = `${suite}-stays-${index}`
  execFileSync('ip', ['netns', 'add', name])
  runChain(suite, 'ADD', chain, name, `/run/netns/${name}`)
}

function medians(costs: readonly Cost[]): Cost {
  return { add: median(costs.map(({ add }) => add)), del: median(costs.map(({ del }) => del)) }
}
