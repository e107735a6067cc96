import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { agentTable } from './agent.js'
import { type Growth, growth } from './growth.js'
import { plot } from './plot.js'
import { proseWrapped, type Section } from './report.js'
import { sections } from './sections.js'

function table({ title, unit = 'ms', remark, lines }: Section): string {
  const figure = (value: number) => value.toLocaleString('en', { maximumFractionDigits: value < 10 ? 1 : 0 })
  const rows = lines.map(({ what, podwire, official, ratio, cpu }) => {
    const spent = cpu ? `${figure(cpu.podwire)} / ${figure(cpu.official)}` : ''
    return `| ${what} | ${figure(podwire)} | ${figure(official)} | **${ratio.toFixed(2)}** | ${spent} |`
  })
  const [ours, theirs] = ['podwire', 'official'].map((suite) => `${suite} ${unit}`.trim())
  const head = [`| what | ${ours} | ${theirs} | ratio | CPU ms, podwire / official |`, '|---|---|---|---|---|']
  return [`## ${title}`, '', ...(remark ? [remark, ''] : []), ...head, ...rows, ''].join('\n')
}

function growthTable(points: readonly Growth[]): string {
  const rows = points.map(
    ({ attachments, podwire, official }) =>
      `| ${attachments} | ${podwire.add.toFixed(0)} / ${podwire.del.toFixed(0)} | ${official.add.toFixed(0)} / ${official.del.toFixed(0)} | ` +
      `**${(podwire.add / official.add).toFixed(2)} / ${(podwire.del / official.del).toFixed(2)}** |`,
  )
  const head = ['| attachments present | podwire ADD / DEL ms | official ADD / DEL ms | ratio |', '|---|---|---|---|']
  return [
    '## The same chain with attachments present (two published ports each)',
    '',
    'Each suite has a host of its own, with nothing of the other one on it; calls in turn.',
    '',
    ...head,
    ...rows,
    '',
    '![cost against attachments](../docs/attachments.svg)',
    '',
  ].join('\n')
}

function machine(): string {
  const tools = [
    ['ip', '-V'],
    ['nft', '-v'],
    ['iptables', '-V'],
  ].map(([command = '', flag = '']) => execFileSync(command, [flag], { encoding: 'utf8' }).trim())
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }
  return [
    '# Results',
    '',
    `podwire ${version} against the official suite v1.10.0, side by side in one run of \`make bench\`: calls in turn, medians of wall milliseconds`,
    'as the caller sees them, and the median of the ratios pair by pair (below 1: podwire is faster). The machine is small and shared: trust the ratios.',
    '',
    `${cpus().length} cores, Linux ${execFileSync('uname', ['-r'], { encoding: 'utf8' }).trim()}; ${tools.join('; ')}.`,
    '',
  ].join('\n')
}

/** Shows each part as soon as it is there. */
function said(text: string): string {
  console.log(text)
  return text
}

const asked = process.argv.slice(2)
const texts: Readonly<Record<string, () => Promise<string>>> = {
  ...Object.fromEntries(
    Object.entries(sections).map(([name, section]) => [name, async () => table(await section())] as const),
  ),
  growth: async () => {
    const points = growth()
    writeFileSync('docs/attachments.svg', plot(points))
    return growthTable(points)
  },
  agent: agentTable,
}
const wanted = asked.length > 0 ? asked : Object.keys(texts)
execFileSync('ip', ['netns', 'add', 'bench'])
const parts = [said(machine())]
for (const name of wanted) {
  const text = texts[name]
  if (!text) throw new Error(`no section is named ${name}; there are ${Object.keys(texts).join(', ')}`)
  parts.push(said(await text()))
}
if (asked.length === 0) writeFileSync('bench/RESULTS.md', proseWrapped(parts.join('\n')))
