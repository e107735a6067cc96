import type { Operation } from '../plan/operation.js'

// Which operations of `ip` go to the kernel in one datagram. It does the messages of a datagram in order, and goes on
// behind one that it refuses. So nothing may stand behind another operation that would make a difference where that one
// is refused: neither to what is left when the plan ends there, nor to what the tool then does about it, or says of it.

/** What is known where a batch is put together. */
export interface Surroundings {
  /** Links that this process made, and takes away where the plan ends: what is done to them goes with them. */
  readonly made: ReadonlySet<string>
  /** Each operation is to be tried whatever becomes of the others. */
  readonly goesOn: boolean
}

/**
 * The operations that begin a plan, of `ip` and in one namespace, that may be sent before it is known what becomes of
 * the first of them.
 */
export function leadingTogether(plan: readonly Operation[], { made, goesOn }: Surroundings): readonly Operation[] {
  const [first] = plan as [Operation]
  const before: Subject[] = []
  for (const one of plan) {
    const { tool, netns, undo } = one
    if (tool !== first.tool || netns !== first.netns || before.length === mostTogether) break
    const subject = subjectOf(one)
    if (!subject) break
    // Where the plan ends at a refused one before it, it is taken back, too.
    const isTakenBack = goesOn || undo !== undefined || made.has(keyOf(subject.link, netns))
    if (before.length > 0 && !isTakenBack) break
    const mayFollow = behind[subject.kind]
    if (!before.every(({ kind, about }) => mayFollow.includes(kind) && about !== subject.about)) break
    before.push(subject)
  }
  return before.length > 1 ? plan.slice(0, before.length) : [first]
}

/**
 * Notes the links that an operation of `ip` makes, each with its namespace, or that one is no more what it was. One
 * that nothing takes away again, such as a bridge, is others', too.
 * @returns whether a name may mean another link now
 */
export function noteLinks({ argv, netns, undo }: Operation, made: Set<string>): boolean {
  const [object, verb, , dev = ''] = argv
  if (object !== 'link') return false
  if (verb !== 'add') {
    const isLost = verb === 'del' || argv.includes('name') || argv.includes('netns')
    if (isLost) made.delete(keyOf(dev, netns))
    return isLost
  }
  if (undo === undefined) return true
  let [name = '', home = netns]: (string | undefined)[] = []
  // Words and their values; names may be words, too.
  for (let at = 2; at < argv.length; at += 2) {
    const [word, value = ''] = [argv[at], argv[at + 1]]
    if (word === 'name') name = value
    else if (word === 'netns') home = value
    else if (word === 'type') {
      made.add(keyOf(name, home))
      if (value !== 'veth') return true
      // Behind "peer" stand those of the other end.
      home = netns
      at++
    }
  }
  made.add(keyOf(name, home))
  return true
}

// --- internal

/** The answers to so many fit into a socket's buffer, where the kernel drops what does not. */
const mostTogether = 32

type Kind = 'address' | 'up' | 'direct route' | 'route by a gateway' | 'removed route' | 'attribute' | 'removed link'

/**
 * What each kind may stand behind. An address or a direct route may be what a route by a gateway was refused for, and a
 * link that is up what a route was: with them there, the tool would do what it has to refuse. A route by a gateway may
 * need what was to be removed.
 */
const behind: Readonly<Record<Kind, readonly Kind[]>> = {
  address: ['address', 'up'],
  up: ['address'],
  'direct route': ['address', 'up', 'direct route'],
  'route by a gateway': ['address', 'up', 'direct route', 'route by a gateway'],
  'removed route': ['address', 'up', 'direct route', 'removed route'],
  attribute: ['attribute'],
  'removed link': ['removed link'],
}

interface Subject {
  readonly kind: Kind
  readonly link: string
  /** Of two operations about the same the first comes first: its tool would take the other's for its own. */
  readonly about: string
}

/** Undefined for what neither stands behind others nor has others behind it, such as a new link or name. */
function subjectOf({ argv }: Operation): Subject | undefined {
  const [object, verb, what = '', name = '', word = ''] = argv
  const link = argv[argv.indexOf('dev') + 1] ?? ''
  if (object === 'route') {
    const isDirect = !argv.includes('via')
    // With a scope of its own a route by a gateway may be the way to another's.
    if (verb !== 'del' && !isDirect && (name !== 'via' || argv.includes('scope'))) return undefined
    return {
      kind: verb === 'del' ? 'removed route' : isDirect ? 'direct route' : 'route by a gateway',
      link,
      about: what,
    }
  }
  if (object === 'addr') return verb === 'add' ? { kind: 'address', link, about: what } : undefined
  if (object !== 'link' || what !== 'dev') return undefined
  if (verb === 'del') return { kind: 'removed link', link, about: name }
  if (verb !== 'set') return undefined
  if (argv.length === 5) return word === 'up' ? { kind: 'up', link, about: name } : undefined
  const isAttribute = argv.length === 6 && attributes.includes(word)
  return isAttribute ? { kind: 'attribute', link, about: `${name} ${word}` } : undefined
}

/** Those that have nothing to do with each other. */
const attributes = ['address', 'allmulticast', 'mtu', 'promisc', 'txqueuelen']

function keyOf(link: string, netns = ''): string {
  return `${netns} ${link}`
}
