import type { CommandCall } from './frame/command.js'
import { type Definition, fine, found, type Status, wrong } from './frame/command.js'
import { visible } from './frame/visible.js'
import type { Belongings } from './node/collect.js'
import { type Garbage, garbageOn, takeGarbage } from './node/garbage.js'
import { kernelOf } from './node/node.js'
import { attachmentJson, shortID, warnOfUnused } from './node/print.js'
import { FileReader } from './node/reader.js'
import { removeEmpty } from './node/release.js'
import { lookAtNode, socketOption } from './node/sockets.js'
import { installTimer, removeTimer, units } from './node/timer.js'

/** `podwire gc`: removes what provably belongs to nobody. */
export default {
  name: 'gc',
  summary: 'remove leases, links, rules, records and cached results that provably belong to nobody',
  details: [
    'An attachment is dead when the namespace of its record or cached result is gone, no namespace of the host has one ' +
      'of its addresses, no plugin is at work for its container, and all of it is ten minutes old. That is looked at ' +
      'once more with the locks held that the plugins take. What is not proven is left alone, and podwire ps says why.',
    'It works on what the official plugins left, too. Of a chain with a plugin or IPAM of another suite it takes only ' +
      "host-local's leases and podwire's records: the cached result stays for the runtime, which has to ask that plugin.",
    '--install-timer writes podwire-gc.service and podwire-gc.timer to /etc/systemd/system, which run it every hour.',
  ],
  options: [
    { flags: '--dry-run', what: 'list what would go, and change nothing' },
    { flags: '--install-timer', what: 'have systemd run it every hour' },
    { flags: '--remove-timer', what: 'take that back' },
    socketOption,
  ],
  places: ['root', 'conf', 'bin', 'data'],
  json: '`dead` attachments with what is theirs, those `waiting`, `emptyLeases`, what was `taken` and `kept`, and `unused` files',
  finds: 'with --dry-run something would go; else something could not be removed',
  examples: [
    { line: 'podwire gc --dry-run', what: 'lists what would go' },
    { line: 'podwire gc --install-timer', what: 'has systemd run it every hour' },
  ],
  run: (call) => {
    const { options, place, console } = call
    const isDryRun = options['dryRun'] === true
    if (options['installTimer']) {
      if (isDryRun) for (const [file, text] of units(process.execPath)) console.write(`# ${file}`, text)
      else installTimer(place)
      return isDryRun ? found : fine
    }
    if (options['removeTimer']) {
      for (const file of removeTimer(place, isDryRun)) console.write(file)
      return fine
    }
    return garbage(call, isDryRun)
  },
} satisfies Definition

// --- internal

async function garbage(call: CommandCall, isDryRun: boolean): Promise<Status> {
  const { console, place, asJson } = call
  const reader = new FileReader(place)
  const kernel = kernelOf(reader)
  if (!kernel) {
    console.warn('gc is for the host that it runs on: of another root nobody knows who lives')
    return wrong
  }
  const isRoot = process.geteuid?.() === 0
  if (!isRoot && !isDryRun) {
    console.warn('only root may remove anything; --dry-run lists as far as this user may look')
    return wrong
  }
  const node = await lookAtNode(call, reader, kernel)
  const { all, empty, waiting } = garbageOn(node, kernel)
  if (!asJson) list(call, { all, empty, waiting })
  const outcomes = isDryRun ? [] : await takeGarbage(all, meansOf(call, all.length))
  console.endProgress()
  const freed = isDryRun ? [] : removeEmpty(empty, (text) => console.warn(text))
  const kept = outcomes.filter((one) => one.kept !== '')
  if (asJson) {
    console.json('gc', {
      dead: all.map(jsonOf),
      waiting: waiting.map(({ attachment, why }) => ({ ...attachmentJson(attachment), why })),
      emptyLeases: empty.map(({ file }) => file),
      taken: [...outcomes.flatMap(({ taken }) => taken), ...freed.map(({ file }) => file)],
      kept: kept.map(({ belongings, kept: why }) => ({ ...attachmentJson(belongings.attachment), why })),
      unused: reader.unused,
    })
  } else {
    const count = outcomes.length - kept.length
    if (count > 0) console.write(`Removed what is left of ${count} attachment${count > 1 ? 's' : ''}.`)
    for (const { belongings, kept: why } of kept) console.write(visible(`kept: ${nameOf(belongings)}: ${why}`))
    warnOfUnused(call, reader)
  }
  if (isDryRun) return all.length + empty.length > 0 ? found : fine
  return kept.length > 0 ? found : fine
}

function list({ console }: CommandCall, { all, empty, waiting }: Garbage): void {
  const rows = all.map(({ attachment, leases, records, results, plugins, foreign }) => {
    const { network, containerID, ifName, name, addresses, life } = attachment
    const counts = [
      [leases.length, 'lease'],
      [records.length, 'record'],
      [results.length, 'cached result'],
    ] as const
    const things = counts.flatMap(([count, what]) => (count === 0 ? [] : [`${count} ${what}${count > 1 ? 's' : ''}`]))
    const rules = plugins.length > 0 ? [`rules and links of ${plugins.join(', ')}`] : []
    const left = foreign.length > 0 ? [`(left to the runtime: ${foreign.join(', ')})`] : []
    const what = [...things, ...rules, ...left].join(', ')
    return [network, shortID(containerID), name, ifName, addresses.join(','), what, life.how]
  })
  if (rows.length > 0) console.table(headings, rows)
  for (const { file } of empty) console.write(visible(`${file}: a lease that names nobody`))
  for (const { attachment, why } of waiting) console.write(visible(`left for now: ${nameOf({ attachment })}: ${why}`))
  if (rows.length + empty.length > 0) return
  const limit = process.geteuid?.() === 0 ? '' : ', as far as this user may look'
  const what = waiting.length > 0 ? 'Nothing else here' : 'Nothing here'
  console.write(`${what} provably belongs to nobody${limit}.`)
}

const headings = ['NETWORK', 'CONTAINER', 'NAME', 'INTERFACE', 'ADDRESSES', 'GOES', 'HOW IT IS KNOWN']

function meansOf({ console, place }: CommandCall, count: number): Parameters<typeof takeGarbage>[1] {
  return {
    bin: place.bin,
    warn: (text) => console.warn(text),
    began: (at) => console.progress(`removing, ${at} of ${count}`),
  }
}

function nameOf({ attachment: { network, containerID, ifName } }: Pick<Belongings, 'attachment'>): string {
  return `${network}/${shortID(containerID)}/${ifName}`
}

function jsonOf({ attachment, leases, records, results, plugins, foreign }: Belongings) {
  return { ...attachmentJson(attachment), leases, records, results, plugins, foreign }
}
