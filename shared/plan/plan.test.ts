import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Command, Outcome } from '../exec/command.js'
import type { Files } from '../exec/files.js'
import { anyText } from '../testing/text.js'
import { thrownBy } from '../testing/thrown.js'
import { createMachine } from '../tools/machine.js'
import { assertToken, quoted } from '../values/token.js'
import { apply, sweep } from './apply.js'
import { createJournal } from './journal.js'
import type { Machine } from './machine.js'
import type { Netlink } from './netlink.js'
import type { Operation } from './operation.js'
import { render } from './render.js'

const ip = (line: string, more: Partial<Operation> = {}): Operation => ({
  tool: 'ip',
  argv: line.split(' '),
  why: `do ${line}`,
  ...more,
})
const nft = (line: string, more: Partial<Operation> = {}): Operation => ({ ...ip(line, more), tool: 'nft' })
const sysctl = (setting: string, more: Partial<Operation> = {}): Operation => ({
  ...ip(`-w ${setting}`, more),
  tool: 'sysctl',
})

/** A machine whose tools answer from a list, one a process; it keeps what was asked. */
function faked(answers: Partial<Outcome>[] = [], values: Record<string, string> = {}) {
  const asked: string[] = []
  const processes: number[] = []
  const written: string[] = []
  const files: Files = {
    read: (path) => values[path] ?? fail(`ENOENT: no such file or directory, open '${path}'`),
    write: (path, text) => void written.push(`${path}=${text}`),
    list: (path) => fail(`ENOTDIR: not a directory, scandir '${path}'`),
    readLink: (path) => fail(`EINVAL: invalid argument, readlink '${path}'`),
  }
  const one = ({ argv, stdin }: Pick<Command, 'argv' | 'stdin'>): Outcome => {
    asked.push([argv.join(' '), ...(stdin ? [stdin.trimEnd()] : [])].join('\n'))
    return { status: 0, signal: null, stdout: '', stderr: '', ...answers[asked.length - 1] }
  }
  /** Several commands of one process end as the shell of together.ts reports them. */
  const run = (command: Command): Outcome => {
    if (!command.parts) return one(command)
    processes.push(command.parts.length)
    const outcomes = command.parts.map(one)
    const fatal = outcomes.findIndex(({ status }, index) => status !== 0 && command.parts?.[index]?.argv[0] !== 'nft')
    const tried = fatal < 0 || command.argv[2]?.includes('exit') === false ? outcomes : outcomes.slice(0, fatal + 1)
    const stdout = tried.map(({ status }, index) => `${index} ${status}\n`).join('')
    return { status: 0, signal: null, stdout, stderr: '', extra: outcomes.flatMap(({ stderr }) => ['', stderr]) }
  }
  return { asked, processes, written, tools: { run, files }, machine: createMachine({ run, files }) }
}

function fail(message: string): never {
  throw new Error(message)
}

function ranBy(plan: readonly Operation[], machine: Machine): string[] {
  const ran: string[] = []
  apply(plan, machine, ({ argv }) => ran.push(argv.join(' ')))
  return ran
}

describe('tokens', () => {
  const unsafe = [
    '',
    'a b',
    'a\nb',
    'a\tb',
    'a"b',
    "a'b",
    'a\\b',
    '#a',
    'a;b',
    '{a',
    'a}',
    '`a`',
    'a\0',
    '"a',
    '"a"b"',
    '"a\nb"',
  ]
  test.each(unsafe)('refuses %j', (token) => {
    expect(() => assertToken(token)).toThrow('unsafe token')
  })

  test.each(['eth0', '10.1.0.2/24', 'fd00::1', ';', '{', '}', '!=', '@set', '"a comment, with words"', '-j'])(
    'takes %j',
    (token) => {
      expect(() => assertToken(token)).not.toThrow()
    },
  )

  test('whatever is quoted stays one token or is refused', () => {
    fc.assert(
      fc.property(anyText(12), (text) => {
        let token: string
        try {
          token = quoted(text)
        } catch {
          return
        }
        expect(token).not.toMatch(/[\n\r\0]/)
        expect(token.slice(1, -1).replaceAll('\\"', '')).not.toContain('"')
      }),
      { seed: 1 },
    )
  })
})

describe('rendering', () => {
  test('says where a command runs, and declarations once before their users', () => {
    const table = nft('add table ip podwire')
    const plan = [
      ip('link set dev eth0 up', { netns: '/run/netns/c' }),
      nft('add element ip podwire m { 10.0.0.1 }', { needs: [table] }),
      nft('add element ip podwire m { 10.0.0.2 }', { needs: [table] }),
      sysctl('net/ipv4/ip_forward=1'),
    ]
    expect(render(plan)).toBe(
      [
        'nsenter --net=/run/netns/c ip link set dev eth0 up',
        'nft add table ip podwire',
        "nft 'add element ip podwire m { 10.0.0.1 }'",
        "nft 'add element ip podwire m { 10.0.0.2 }'",
        'sysctl -w net/ipv4/ip_forward=1',
        '',
      ].join('\n'),
    )
  })
})

describe('apply', () => {
  test('neighbours of one tool and namespace share a command, and up to three commands a process', () => {
    const { asked, processes, machine } = faked()
    const netns = '/run/netns/c'
    expect(
      ranBy([ip('a'), ip('b'), ip('c', { netns }), ip('d', { netns }), nft('e'), nft('f'), ip('g')], machine),
    ).toHaveLength(7)
    expect(asked).toEqual([
      'ip -batch -\na\nb',
      'nsenter --net=/run/netns/c ip -batch -\nc\nd',
      'nft -f -\ne\nf',
      'ip -batch -\ng',
    ])
    expect(processes).toEqual([3])
  })

  test('a refusal among several commands stops those behind it and counts what ran beside', () => {
    const { machine } = faked([{ status: 1, stderr: 'Invalid argument\nCommand failed -:1\n' }, {}])
    const ran: string[] = []
    const plan = [ip('a'), nft('b'), ip('c', { netns: '/run/netns/c' })]
    const error = thrownBy(() => apply(plan, machine, ({ argv }) => ran.push(argv.join(' '))))
    expect(error.message).toBe('cannot do a: Invalid argument')
    expect(ran).toEqual([])
  })

  test('stops at the refused line and reports what ran before it', () => {
    const { machine } = faked([{ status: 1, stderr: 'RTNETLINK answers: Invalid argument\nCommand failed -:2\n' }])
    const ran: string[] = []
    const error = thrownBy(() => apply([ip('a'), ip('b'), ip('c')], machine, ({ argv }) => ran.push(argv.join(' '))))
    expect(ran).toEqual(['a'])
    expect(error.message).toBe('cannot do b: Invalid argument')
    expect(error.details).toContain('command: ip b')
  })

  test('goes on behind a tolerated refusal', () => {
    const refused = { status: 1, stderr: 'RTNETLINK answers: File exists\nCommand failed -:2\n' }
    const { asked, machine } = faked([refused])
    const plan = [ip('a'), ip('b', { tolerate: ['exists'] }), ip('c')]
    expect(ranBy(plan, machine)).toEqual(['a', 'c'])
    expect(asked).toEqual(['ip -batch -\na\nb\nc', 'ip -batch -\nc'])
  })

  test('sends declarations only when the kernel lacks them', () => {
    const plan = [
      nft('add element x', { needs: [nft('add table t')] }),
      nft('add element y', { needs: [nft('add table t')] }),
    ]
    const there = faked()
    ranBy(plan, there.machine)
    expect(there.asked).toEqual(['nft -f -\nadd element x\nadd element y'])
    const lacking = faked([{ status: 1, stderr: 'Error: No such file or directory' }])
    ranBy(plan, lacking.machine)
    expect(lacking.asked[1]).toBe('nft -f -\nadd table t\nadd element x\nadd element y')
  })

  test("moves a dead owner's leftover out of the way", () => {
    const plan = [nft('add element x', { displaces: [nft('delete element x')] })]
    const { asked, machine } = faked([{ status: 1, stderr: 'Error: Could not process rule: File exists' }])
    ranBy(plan, machine)
    expect(asked[1]).toBe('nft -f -\ndelete element x\nadd element x')
  })

  test('a refused transaction ran nothing', () => {
    const { machine } = faked([{ status: 1, stderr: 'Error: syntax error' }])
    const ran: string[] = []
    expect(thrownBy(() => apply([nft('a'), nft('b')], machine, ({ argv }) => ran.push(argv.join(' ')))).code).toBe(100)
    expect(ran).toEqual([])
  })

  test('host settings are written only when they differ', () => {
    const { asked, written, machine } = faked([], { '/proc/sys/net/a': '1\n', '/proc/sys/net/b': '0\n' })
    ranBy([sysctl('net/a=1'), sysctl('net/b=1')], machine)
    expect({ asked, written }).toEqual({ asked: [], written: ['/proc/sys/net/b=1'] })
  })

  test('a setting the kernel lacks is an error, unless it may be lacking', () => {
    const { machine } = faked()
    expect(thrownBy(() => ranBy([sysctl('net/none=1')], machine)).message).toContain('cannot do -w net/none=1')
    expect(ranBy([sysctl('net/none=1', { tolerate: ['absent'] })], machine)).toEqual([])
  })

  test('settings of a namespace and the commands behind them are one process', () => {
    const netns = '/run/netns/c'
    const { asked, machine } = faked()
    ranBy(
      [sysctl('net/a=1', { netns }), sysctl('net/b=0', { netns, tolerate: ['absent'] }), ip('c', { netns })],
      machine,
    )
    expect(asked).toHaveLength(1)
    expect(asked[0]).toMatch(/^nsenter --net=\/run\/netns\/c sh -c /)
    expect(asked[0]?.endsWith('exec ip -batch - sh !net/a=1 ?net/b=0\nc')).toBe(true)
  })

  test('more settings than an exit status can name take more processes', () => {
    const netns = '/run/netns/c'
    const { asked, machine } = faked()
    const settings = Array.from({ length: 150 }, (_, index) => sysctl(`net/${index}=1`, { netns }))
    expect(ranBy([...settings, ip('c', { netns })], machine)).toHaveLength(151)
    expect(asked.map((one) => one.split(' !').length - 1)).toEqual([26, 26, 26, 26, 26, 20])
  })

  test('a setting refused in a namespace is named', () => {
    const netns = '/run/netns/c'
    const { machine } = faked([{ status: 101, stderr: 'sh: 7: cannot create /proc/sys/net/b: Permission denied\n' }])
    const error = thrownBy(() =>
      ranBy([sysctl('net/a=1', { netns }), sysctl('net/b=0', { netns }), ip('c', { netns })], machine),
    )
    expect(error.message).toContain('cannot do -w net/b=0')
  })

  test('what is of IPv6 and does not show it is a batch of its own', () => {
    const { asked, machine } = faked()
    const plan = [ip('rule add a'), ip('-6 rule add b'), ip('-6 rule add c'), ip('link set d')]
    ranBy(plan, machine)
    expect(asked).toEqual([
      'ip -batch -\nrule add a',
      'ip -6 -batch -\nrule add b\nrule add c',
      'ip -batch -\nlink set d',
    ])
    expect(render(plan)).toContain('ip -6 rule add b\n')
  })

  test('a command under another SELinux context is a process of its own', () => {
    const { asked, machine } = faked()
    const runcon: Operation = { ...ip('a:b:c:d ip tuntap add'), tool: 'runcon', netns: '/run/netns/c' }
    ranBy([runcon, ip('e', { netns: '/run/netns/c' })], machine)
    expect(asked).toEqual([
      'nsenter --net=/run/netns/c runcon a:b:c:d ip tuntap add',
      'nsenter --net=/run/netns/c ip -batch -\ne',
    ])
  })

  test('a missing program is said with the package that has it', () => {
    const { machine } = faked([{ status: null, failure: 'ENOENT' }])
    expect(thrownBy(() => ranBy([nft('a')], machine))).toMatchObject({
      code: 101,
      message: 'cannot do a: the program "nft" is not installed',
      details: expect.stringContaining('fix: install the package nftables'),
    })
  })

  test('iptables operations of one table are one transaction', () => {
    const rule = (line: string): Operation => ({ ...ip(line), tool: 'iptables' })
    const { asked, machine } = faked()
    ranBy([rule('-t nat -N A'), rule('-t nat -A A -j ACCEPT'), rule('-t filter -N B')], machine)
    expect(asked).toEqual([
      'iptables-restore --noflush --wait\n*nat\n-N A\n-A A -j ACCEPT\nCOMMIT',
      'iptables-restore --noflush --wait\n*filter\n-N B\nCOMMIT',
    ])
  })
})

describe('sweep', () => {
  test('does every line and reports those that matter', () => {
    const stderr =
      'Cannot find device "a"\nCommand failed -:1\nRTNETLINK answers: Operation not permitted\nCommand failed -:3\n'
    const { asked, machine } = faked([{ status: 1, stderr }])
    const failures = sweep([ip('a', { tolerate: ['absent'] }), ip('b'), ip('c')], machine)
    expect(asked).toEqual(['ip -force -batch -\na\nb\nc'])
    expect(failures.map(({ message }) => message)).toEqual(['cannot do c: Operation not permitted'])
  })

  test('finds the absent element of a transaction and does the rest', () => {
    const absent = { status: 1, stderr: 'Error: No such file or directory' }
    const { asked, machine } = faked([absent, {}, absent, {}, absent])
    const plan = ['a', 'b', 'c'].map((line) => nft(line, { tolerate: ['absent'] }))
    expect(sweep(plan, machine)).toEqual([])
    expect(asked.slice(1)).toEqual(['nft -f -\na', 'nft -f -\nb\nc', 'nft -f -\nb', 'nft -f -\nc'])
  })
})

describe('what the kernel says of a refusal (an extended acknowledgement)', () => {
  const refusing = (text: string | undefined, answer: Partial<Outcome>) => {
    const run = (left: readonly Operation[]) => ({ left, kernelText: text })
    return createMachine(faked([answer]).tools, { run } as unknown as Netlink)
  }
  const text = 'Can not enslave a bridge to a bridge'
  const busy = { status: 2, stderr: 'RTNETLINK answers: Too many levels of symbolic links\nCommand failed -:1\n' }

  test.each([
    ['where the tool has other words', busy, `kernel: ${text}\nstderr: RTNETLINK answers: Too many`],
    ['where the tool is not there', { status: null, failure: 'ENOENT' }, `kernel: ${text}`],
    ['where the tool cannot be started', { status: null, failure: 'EAGAIN' }, `kernel: ${text}`],
  ])('is among the details %s', (_, answer, details) => {
    const error = thrownBy(() => apply([ip('a'), ip('b')], refusing(text, answer), () => undefined))
    expect(error.details).toContain(`command: ip a\n${details}`)
    const [failure] = sweep([ip('a')], refusing(text, answer))
    expect(failure?.details).toContain(`command: ip a\n${details}`)
  })

  test.each([
    ['is not there', { status: null, failure: 'ENOENT' }],
    ['cannot be started', { status: null, failure: 'EAGAIN' }],
  ])('is its error in words, of a whole transaction, where nft %s', (_, answer) => {
    const machine = createMachine(faked([answer]).tools, {
      run: (left: readonly Operation[]) => ({ left, kernelError: -28 }),
    } as unknown as Netlink)
    const error = thrownBy(() => apply([nft('a'), nft('b')], machine, () => undefined))
    expect(error.details).toContain('kernel: no space left on device')
  })

  test('is not said twice, and not where there is none', () => {
    const repeated = { status: 2, stderr: `Error: ${text}.\nCommand failed -:1\n` }
    for (const machine of [refusing(text, repeated), refusing(undefined, busy)]) {
      expect(thrownBy(() => apply([ip('a')], machine, () => undefined)).details).not.toContain('kernel:')
    }
  })

  test('is said of the operation it is about alone', () => {
    const second = { status: 1, stderr: 'RTNETLINK answers: File exists\nCommand failed -:2\n' }
    const error = thrownBy(() => apply([ip('a'), ip('b')], refusing(text, second), () => undefined))
    expect(error.details).toBe('command: ip b\nstderr: RTNETLINK answers: File exists\nCommand failed -:2')
  })
})

describe('where of operations sent at once some were refused', () => {
  /** The kernel does each operation but the named ones; what a tool is asked for, it answers from a list. */
  const doingBut = (names: readonly string[], answers: Partial<Outcome>[]) => {
    const requests: string[] = []
    const run = (plan: readonly Operation[], tell: (operation: Operation) => void, options?: { goesOn?: boolean }) => {
      requests.push([plan.map(({ argv }) => argv[0]).join(' '), ...(options?.goesOn ? ['goes on'] : [])].join(', '))
      const isRefused = ({ argv }: Operation) => requests.length === 1 && names.includes(argv[0] as string)
      plan.filter((one) => !isRefused(one)).forEach(tell)
      return { left: plan.filter(isRefused), ...(plan.some(isRefused) ? { kernelError: -22 } : {}) }
    }
    const { asked, tools } = faked(answers)
    return { asked, requests, machine: createMachine(tools, { run } as unknown as Netlink) }
  }
  const plan = ['a', 'b', 'c', 'd'].map((line) => ip(line, { undo: [ip(`un${line}`)] }))
  const all = ['a', 'b', 'c', 'd']
  const refusal = { status: 1, stderr: 'RTNETLINK answers: Invalid argument\nCommand failed -:1\n' }

  test.each(all)('%s: the tool says why, and exactly what ran is taken back', (refused) => {
    const { asked, requests, machine } = doingBut([refused], [refusal])
    const journal = createJournal()
    const error = thrownBy(() => apply(plan, machine, journal.ran))
    expect(error).toMatchObject({ code: 100, message: `cannot do ${refused}: Invalid argument` })
    expect(asked).toEqual([`ip -batch -\n${refused}`])
    expect(journal.rollback(machine)).toEqual([])
    const undone = all.filter((one) => one !== refused).reverse()
    expect(requests).toEqual(['a b c d', `${undone.map((one) => `un${one}`).join(' ')}, goes on`])
  })

  test.each(all)('%s: where the tool does it, the plan goes on', (refused) => {
    const { machine } = doingBut([refused], [{}])
    expect(ranBy(plan, machine).toSorted()).toEqual(all)
  })

  test('the others that were refused stay behind the first', () => {
    const { asked, machine } = doingBut(['b', 'd'], [{}])
    expect(ranBy(plan, machine)).toEqual(['a', 'c', 'b', 'd'])
    expect(asked).toEqual(['ip -batch -\nb\nd'])
    const refusing = doingBut(['b', 'd'], [refusal])
    expect(thrownBy(() => ranBy(plan, refusing.machine)).message).toBe('cannot do b: Invalid argument')
  })
})

describe('where no process can be had', () => {
  const starved = (able: (operation: Operation) => boolean) => {
    const done: string[] = []
    const run = (plan: readonly Operation[], tell: (operation: Operation) => void) => {
      const end = plan.findIndex((one) => !able(one))
      const taken = plan.slice(0, end < 0 ? plan.length : end)
      taken.forEach(tell)
      done.push(...taken.map(({ argv }) => argv.join(' ')))
      return { left: plan.slice(taken.length) }
    }
    const { asked, tools } = faked(Array.from({ length: 9 }, () => ({ status: null, failure: 'EAGAIN' })))
    return { asked, done, machine: createMachine(tools, { run } as unknown as Netlink) }
  }

  test('a sweep has the kernel do all that it can, and says what is left', () => {
    const { done, machine } = starved(({ argv }) => argv[0] !== 'b')
    const failures = sweep([ip('a'), ip('b'), ip('c'), ip('b'), ip('d')], machine)
    expect(done).toEqual(['a', 'c', 'd'])
    expect(failures.map(({ code, message }) => [code, message])).toEqual([
      [11, 'cannot do b: no process can be started (EAGAIN)'],
      [11, 'cannot do b: no process can be started (EAGAIN)'],
    ])
  })

  test('a transaction is not tried in parts', () => {
    const { asked, machine } = starved(() => false)
    expect(
      sweep(
        ['a', 'b', 'c'].map((line) => nft(line)),
        machine,
      ),
    ).toHaveLength(3)
    expect(asked).toHaveLength(1)
  })

  test('settings that no process wrote did not run', () => {
    const { machine } = starved(() => false)
    const ran: Operation[] = []
    const setting = sysctl('net/a=1', { netns: '/run/netns/a' })
    const error = thrownBy(() => apply([setting], machine, (one) => ran.push(one)))
    expect(error).toMatchObject({ code: 11 })
    expect(ran).toEqual([])
  })
})

describe('the journal', () => {
  test('takes back only what ran, newest first, and never stops', () => {
    const { asked, machine } = faked([
      { status: 1, stderr: 'RTNETLINK answers: Invalid argument\nCommand failed -:3\n' },
      { status: 1, stderr: 'Operation not permitted\nCommand failed -:1\n' },
    ])
    const journal = createJournal()
    const plan = ['a', 'b', 'c'].map((line) => ip(line, { undo: [ip(`un${line}`)] }))
    thrownBy(() => apply(plan, machine, journal.ran))
    const order: string[] = []
    journal.note(() => {
      order.push('lease')
      return []
    })
    const left = journal.rollback(machine)
    expect(order).toEqual(['lease'])
    expect(asked[1]).toBe('ip -force -batch -\nunb\nuna')
    expect(left.map(({ message }) => message)).toEqual(['cannot do unb: Operation not permitted'])
    expect(journal.rollback(machine)).toEqual([])
  })
})
