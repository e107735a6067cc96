import { describe, expect, test } from 'vitest'
import type { Command, Outcome } from '../exec/command.js'
import type { Files } from '../exec/files.js'
import { addLink, deleteLink, setUp } from '../net/ip.js'
import { nft } from '../net/nft.js'
import { thrownBy } from '../testing/thrown.js'
import { createMachine } from '../tools/machine.js'
import { apply, sweep } from './apply.js'
import { createJournal } from './journal.js'
import type { Machine } from './machine.js'
import type { Operation } from './operation.js'

/** How a tool ends; `lines` of what it was given it has done before. */
interface End extends Partial<Outcome> {
  readonly lines: number
}

/** What a tool may end with that names no line, by what is seen of it when it is the only one of its process. */
const endings: Record<string, Partial<Outcome>> = {
  'status 255 and a word it cannot read': {
    status: 255,
    stderr: 'Error: argument "x" is wrong: "mtu" value is invalid\n',
  },
  'status 255 and nothing': { status: 255 },
  'status 1 and nothing': { status: 1 },
  'status 1 and garbage': { status: 1, stderr: '\u0001\ufffd'.repeat(10_000) },
  "another version's words": { status: 2, stderr: 'ip: RTNETLINK: File exists (line 2)\n' },
  'a line that nobody gave it': { status: 1, stderr: 'RTNETLINK answers: File exists\nCommand failed -:99\n' },
  'line 0': { status: 1, stderr: 'RTNETLINK answers: File exists\nCommand failed -:0\n' },
  'a signal': { status: null, signal: 'SIGKILL' },
  'a signal, behind a line it names': { status: null, signal: 'SIGSEGV', stderr: 'Command failed -:1\n' },
  'too much time': {
    status: null,
    signal: 'SIGKILL',
    exceeded: true,
    stderr: 'ended by force, because it ran for more than 30 s\n',
  },
}

/** A machine with links and nothing else, whose tools end as is said, the first process first; then as they should. */
function faked(links: string[], ends: End[] = []) {
  const asked: string[] = []
  const there = new Map(links.map((name) => [name, { address: '02:00:00:00:00:01', kind: 'veth' }]))
  const files: Files = {
    read: (path) => {
      if (there.has(path.split('/')[6] ?? '')) return '0\n'
      throw Object.assign(new Error('ENOENT: no such file or directory'), { code: 'ENOENT' })
    },
    write: () => expect.fail(),
    list: () => expect.fail(),
    readLink: () => expect.fail(),
  }
  const done = (status = 0, stderr = ''): Outcome => ({ status, signal: null, stdout: '', stderr })
  const doLine = (line: string): string => {
    const words = line.split(' ')
    const name = words[words.indexOf(line.startsWith('link add') ? 'name' : 'dev') + 1] ?? ''
    if (line.startsWith('link add')) {
      if (there.has(name)) return 'RTNETLINK answers: File exists'
      there.set(name, { address: words[words.indexOf('address') + 1] ?? '', kind: words.at(-1) ?? '' })
    } else if (!there.has(name)) return `Cannot find device "${name}"`
    else if (line.startsWith('link del')) there.delete(name)
    return ''
  }
  const one = ({ argv, stdin = '' }: Pick<Command, 'argv' | 'stdin'>): Outcome => {
    if (argv.includes('show')) {
      const link = there.get(argv.at(-1) ?? '')
      if (!link) return done(1, `Device "${argv.at(-1)}" does not exist.`)
      const { address, kind } = link
      const shown = {
        ifindex: 2,
        ifname: argv.at(-1),
        flags: [],
        mtu: 1500,
        operstate: 'UP',
        txqlen: 0,
        promiscuity: 0,
        address,
        linkinfo: { info_kind: kind },
        addr_info: [],
      }
      return { ...done(), stdout: JSON.stringify([shown]) }
    }
    asked.push(`${argv.join(' ')}\n${stdin.trimEnd()}`)
    const end = ends.shift()
    const lines = stdin
      .split('\n')
      .filter((line) => line !== '')
      .slice(0, end?.lines)
    if (argv[0] === 'nft') return { ...done(), ...end }
    let stderr = ''
    for (const [index, line] of lines.entries()) {
      const why = doLine(line)
      if (why === '') continue
      stderr += `${why}\nCommand failed -:${index + 1}\n`
      if (!argv.includes('-force')) break
    }
    return end ? { ...done(), ...end } : done(stderr === '' ? 0 : 1, stderr)
  }
  const run = (command: Command): Outcome => {
    if (!command.parts) return one(command)
    const outcomes = command.parts.map(one)
    const stdout = outcomes.map(({ status, signal }, index) => `${index} ${signal ? 137 : status}\n`).join('')
    return { ...done(), stdout, extra: outcomes.flatMap(({ stderr }) => ['', stderr]) }
  }
  return { asked, tools: { run, files }, machine: createMachine({ run, files }), links: () => [...there.keys()] }
}

const mac = '02:00:00:00:00:02'
const plan: readonly Operation[] = [
  setUp({ link: 'br0' }),
  addLink({ link: 'a' }, ['address', mac, 'type', 'veth']),
  setUp({ link: 'a' }),
  addLink({ link: 'b', netns: '/run/netns/c' }, ['address', mac, 'type', 'veth']),
]
const element = { ...nft(['add', 'x'], 'add x'), undo: [nft(['delete', 'x'], 'delete x')] }

/** Applies a plan that fails, takes it back, and returns what was said. */
function failing(operations: readonly Operation[], machine: Machine) {
  const journal = createJournal()
  const error = thrownBy(() => apply(operations, machine, journal.ran))
  return { error, left: journal.rollback(machine) }
}

describe.for(Object.entries(endings))('a batch that ends with %s', ([name, ending]) => {
  for (const lines of [0, 1, 2, 3]) {
    test(`having done ${lines} of its lines: what is there is taken back, and all commands are named`, () => {
      const { machine, links } = faked(['br0'], [{ ...ending, lines }])
      const { error, left } = failing(plan.slice(0, 3), machine)
      expect(links()).toEqual(['br0'])
      expect(left).toEqual([])
      expect(error.message).toContain('"ip" ended without saying which of 3 commands it had done: ')
      for (const line of ['ip link set dev br0 up', 'ip link add name a', 'ip link set dev a up']) {
        expect(error.details).toContain(`\n${line}`)
      }
      expect(error.details.length).toBeLessThan(6000)
    })
  }

  test('among several in a process: the others are taken back too', () => {
    const { machine, links } = faked(['br0'], [{ ...ending, lines: 3 }])
    if (name === 'too much time') return expect(links()).toEqual(['br0'])
    const { left } = failing([...plan, element], machine)
    expect(links()).toEqual(['br0'])
    expect(left).toEqual([])
  })

  test('a link of the name that was there before stays', () => {
    for (const lines of [0, 3]) {
      const { machine, links } = faked(['br0', 'a'], [{ ...ending, lines }])
      failing(plan.slice(0, 3), machine)
      expect(links()).toEqual(['br0', 'a'])
    }
  })

  test('removing: what was not told is tried again one by one', () => {
    for (const lines of [0, 1, 2]) {
      const { machine, links } = faked(['a', 'b'], [{ ...ending, lines }])
      const failures = sweep(
        ['a', 'b'].map((link) => deleteLink({ link })),
        machine,
      )
      const isSlow = ending.exceeded === true
      expect(links()).toEqual(isSlow ? ['a', 'b'].slice(lines) : [])
      expect(failures).toHaveLength(isSlow ? 2 - lines : 0)
    }
  })
})

test('a link that another makes under the name in that moment stays', () => {
  const { tools, links } = faked(['br0'], [{ lines: 1 }, { lines: 0, status: 255 }])
  const { run } = tools
  let made = false
  const racing = createMachine({
    ...tools,
    run: (command: Command) => {
      if (command.argv.includes('-batch') && !made) {
        made = true
        run({ argv: ['ip', '-force', '-batch', '-'], stdin: 'link add name a address 02:00:00:00:00:99 type veth\n' })
      }
      return run(command)
    },
  })
  failing(plan.slice(0, 3), racing)
  expect(links()).toEqual(['br0', 'a'])
})

test('what a leftover of the same name makes room for is ours', () => {
  const { machine, links } = faked(['br0', 'a'], [{ lines: 9, status: 255 }])
  failing([deleteLink({ link: 'a' }), ...plan.slice(0, 3)], machine)
  expect(links()).toEqual(['br0'])
})

test('a removal that is never told of is looked at, and said where it is not done', () => {
  const never = Array.from({ length: 9 }, () => ({ lines: 0, status: 255 }))
  const { machine } = faked(['a', 'b'], never)
  const failures = sweep(
    ['a', 'b'].map((link) => deleteLink({ link })),
    machine,
  )
  expect(failures.map(({ message }) => message)).toEqual([
    'cannot remove a: exit status 255',
    'cannot remove b: exit status 255',
  ])
  const done = faked(
    ['a'],
    Array.from({ length: 9 }, () => ({ lines: 9, status: 255 })),
  )
  expect(sweep([deleteLink({ link: 'a' })], done.machine)).toEqual([])
})

describe('a transaction', () => {
  const ends: Record<string, Partial<Outcome>> = {
    killed: { status: null, signal: 'SIGKILL' },
    'with a status nobody knows': { status: 255, stderr: 'Error: what\n' },
    'without a word': { status: 1 },
    'with garbage': { status: 1, stderr: '\ufffd' },
    'that took too long': { status: null, signal: 'SIGKILL', exceeded: true, stderr: 'ended by force\n' },
  }
  test.for(Object.entries(ends))('%s may have been committed: it is taken back', ([, end]) => {
    const { machine, asked } = faked([], [{ lines: 0, ...end }])
    const { error, left } = failing([element, element], machine)
    expect(error.message).toContain('"nft" ended without saying which of 2 commands')
    expect(asked.slice(1)).toEqual(['nft -f -\ndelete x\ndelete x'])
    expect(left).toEqual([])
  })

  test.for(['iptables', 'ip6tables', 'iptables-legacy'] as const)('of %s alike', (tool) => {
    const rule = {
      ...element,
      tool,
      argv: ['-t', 'nat', '-N', 'A'],
      undo: [{ ...element, tool, argv: ['-t', 'nat', '-X', 'A'] }],
    }
    for (const end of Object.values(ends)) {
      const { machine, asked } = faked([], [{ lines: 0, ...end }])
      failing([rule], machine)
      expect(asked[1]).toContain('-X A')
    }
    const known = faked([], [{ lines: 0, status: 1, stderr: `${tool}-restore: line 2 failed\n` }])
    failing([rule], known.machine)
    expect(known.asked).toHaveLength(1)
  })

  test("refused in nft's words has done nothing", () => {
    const { machine, asked } = faked(
      [],
      [{ lines: 0, status: 1, stderr: '/dev/stdin:1:1-2: Error: Could not process rule: Invalid argument\n' }],
    )
    failing([element], machine)
    expect(asked).toHaveLength(1)
  })
})

test('settings and the batch behind them: a shell that is killed may have written all', () => {
  const netns = '/run/netns/c'
  const setting = (value: string): Operation => ({
    tool: 'sysctl',
    argv: ['-w', `net/a=${value}`],
    netns,
    why: 'set a',
  })
  for (const end of [
    { status: null, signal: 'SIGKILL' },
    { status: 99 },
    { status: 255 },
    { status: 2, stderr: 'sh: 1: Cannot fork\n' },
  ]) {
    const { machine, asked } = faked([], [{ lines: 0, ...end }])
    const { error } = failing([{ ...setting('1'), undo: [setting('0')] }, setUp({ link: 'b', netns })], machine)
    expect(error.details).toContain('sysctl -w net/a=1')
    expect(asked[1]).toContain('?net/a=0')
  }
})

test('what was never started has done nothing', () => {
  for (const end of [
    { status: null, failure: 'EAGAIN' },
    { status: 1, stderr: 'nsenter: cannot open /run/netns/c: No such file or directory\n' },
  ]) {
    const { machine, asked } = faked([], [{ lines: 0, ...end }])
    failing([element], machine)
    expect(asked).toHaveLength(1)
  }
})

test('the missing program is named, not the one that was to start it', () => {
  const stderr = 'nsenter: failed to execute ip: No such file or directory\n'
  const { machine } = faked([], [{ lines: 0, status: 127, stderr }])
  expect(failing([setUp({ link: 'b', netns: '/run/netns/c' })], machine).error.message).toContain(
    'the program "ip" is not installed',
  )
})
