import { describe, expect, test } from 'vitest'
import type { Command, Outcome } from '../exec/command.js'
import type { Files } from '../exec/files.js'
import type { Netlink } from '../plan/netlink.js'
import type { Operation, Tool } from '../plan/operation.js'
import type { Report } from '../plan/refusal.js'
import { createExecutor } from './executor.js'

// Operations as the commands that carry them out, and what a tool's end says of each of them.

const of = (tool: Tool, line: string, more: Partial<Operation> = {}): Operation => ({
  tool,
  argv: line.split(' '),
  why: `do ${line}`,
  ...more,
})
const inside = { netns: '/n' }

/** Tools that end as they are told, one after the other; what comes out of a shell is one of its parts each. */
function executing(...ends: Partial<Outcome>[]) {
  const asked: string[] = []
  const one = ({ argv, stdin = '' }: Pick<Command, 'argv' | 'stdin'>): Outcome => {
    const shown = argv[0] === 'nsenter' && argv[2] === 'sh' ? ['nsenter', argv[1], 'sh', ...argv.slice(6)] : argv
    asked.push([shown.join(' '), ...stdin.split('\n').filter((line) => line !== '')].join(' | '))
    return { status: 0, signal: null, stdout: '', stderr: '', ...ends[asked.length - 1] }
  }
  const run = (command: Command): Outcome => {
    if (!command.parts) return one(command)
    asked.push(`together: ${command.parts.length}`)
    return { status: 0, signal: null, stdout: '', stderr: '' }
  }
  return { asked, executor: createExecutor({ run, files: {} as Files }) }
}

/** A report by the words of its operations. */
const told = (reports: readonly Report[]) => {
  const words = ({ argv }: Operation) => argv.join(' ')
  return {
    ran: reports.flatMap(({ ran }) => ran.map(words)),
    refused: reports.flatMap(({ refused }) => refused.map(({ operation }) => words(operation))),
    unclear: reports.flatMap(({ unclear = [] }) => unclear.flatMap(({ operations }) => operations.map(words))),
  }
}

const oh = { status: 1, stderr: 'iptables-restore: oh' }

describe('groups', () => {
  const groupsOf = (...plan: Operation[]) =>
    executing()
      .executor.leadingGroups(plan)
      .map((group) => group.map(({ tool, argv }) => `${tool} ${argv.join(' ')}`).join(' + '))
  const [a, b, n] = [of('ip', 'a'), of('ip', 'b'), of('nft', 'n')]

  test('are neighbours of one tool, one namespace and one family', () => {
    expect(groupsOf(a, b, of('ip', 'c', inside), of('ip', '-6 rule add', inside))).toEqual([
      'ip a + ip b',
      'ip c',
      'ip -6 rule add',
    ])
    expect(groupsOf(a)).toEqual(['ip a'])
  })

  test('of which a process takes three, and of nft one', () => {
    expect(groupsOf(a, n, of('tc', 't'), of('bridge', 'x'))).toEqual(['ip a', 'nft n', 'tc t'])
    expect(groupsOf(n, a, of('nft', 'm'))).toEqual(['nft n', 'ip a'])
    expect(groupsOf(n, of('nft', 'm', inside))).toEqual(['nft n'])
  })

  test('stand alone where their tool takes no part in that', () => {
    expect(groupsOf(a, of('iptables', '-t nat x'), b)).toEqual(['ip a'])
    expect(groupsOf(of('iptables', '-t nat x'), of('iptables', '-t nat y'), a)).toEqual([
      'iptables -t nat x + iptables -t nat y',
    ])
    expect(groupsOf(of('conntrack', '-D x'), of('conntrack', '-D y'))).toEqual(['conntrack -D x'])
    expect(groupsOf(of('runcon', 'x ip'), of('runcon', 'y ip'))).toEqual(['runcon x ip'])
    expect(groupsOf(of('sysctl', '-w a=1'), of('sysctl', '-w b=1'))).toEqual(['sysctl -w a=1'])
  })

  test('of settings inside hold the commands behind them, and no more than an exit status can name', () => {
    const setting = (name: string) => of('sysctl', `-w ${name}=1`, inside)
    const [up, rule] = [of('ip', 'up', inside), of('ip', '-6 rule', inside)]
    expect(groupsOf(setting('a'), setting('b'), up)).toEqual(['sysctl -w a=1 + sysctl -w b=1 + ip up'])
    expect(groupsOf(setting('a'), up, n)).toEqual(['sysctl -w a=1 + ip up', 'nft n'])
    expect(groupsOf(setting('a'), n)).toEqual(['sysctl -w a=1', 'nft n'])
    expect(groupsOf(setting('a'), up, rule)).toEqual(['sysctl -w a=1 + ip up', 'ip -6 rule'])
    const many = (count: number) => Array.from({ length: count }, (_, at) => setting(`s${at}`))
    const sizes = (count: number) =>
      executing()
        .executor.leadingGroups([...many(count), up])
        .map(({ length }) => length)
    expect([sizes(26), sizes(27), sizes(53)]).toEqual([[27], [26, 2], [26, 26, 2]])
  })
})

describe('a batch', () => {
  const lines = [of('ip', 'link add a'), of('ip', 'link add b'), of('ip', 'link add c')]

  test('ends at the line that its tool names, or goes on to the end', () => {
    const first = executing({ status: 1, stderr: 'oh\nCommand failed -:2\n' })
    expect(told(first.executor.runGroups([lines], false))).toEqual({
      ran: ['link add a'],
      refused: ['link add b'],
      unclear: [],
    })
    expect(first.asked).toEqual(['ip -batch - | link add a | link add b | link add c'])
    const all = executing({ status: 1, stderr: 'oh\nCommand failed -:1\nah\nCommand failed -:3\n' })
    const report = all.executor.runGroups([lines], true)
    expect(told(report)).toEqual({ ran: ['link add b'], refused: ['link add a', 'link add c'], unclear: [] })
    expect(report[0]?.refused.map(({ stderr }) => stderr)).toEqual([
      'oh\nCommand failed -:1\n',
      'ah\nCommand failed -:3\n',
    ])
    expect(all.asked).toEqual(['ip -force -batch - | link add a | link add b | link add c'])
    expect(told(executing().executor.runGroups([lines], true)).ran).toHaveLength(3)
  })

  test('whose tool does not say which line it was is unclear', () => {
    const ends: Partial<Outcome>[] = [
      { status: 1, stderr: 'oh' },
      { status: null, signal: 'SIGKILL', stderr: 'oh\nCommand failed -:2\n' },
      { status: 1, stderr: 'oh\nCommand failed -:9\n' },
    ]
    for (const end of ends) {
      for (const keepGoing of [false, true]) {
        expect(told(executing(end).executor.runGroups([lines], keepGoing)).unclear).toHaveLength(3)
      }
    }
    const more = { status: 1, stderr: 'oh\nCommand failed -:1\nlast words\n' }
    expect(told(executing(more).executor.runGroups([lines], true)).unclear).toHaveLength(3)
  })

  test('of one line is that, where a reason is said', () => {
    const one = lines.slice(0, 1)
    for (const keepGoing of [false, true]) {
      const exists = executing({ status: 2, stderr: 'RTNETLINK answers: File exists' })
      expect(told(exists.executor.runGroups([one], keepGoing)).refused).toEqual(['link add a'])
      const other = executing({ status: 2, stderr: 'oh' })
      expect(told(other.executor.runGroups([one], keepGoing)).unclear).toEqual(['link add a'])
    }
  })

  test('that was never started ran nothing: all of a sweep, or the first of a plan', () => {
    const lack = { status: null, failure: 'EAGAIN' }
    expect(told(executing(lack).executor.runGroups([lines], false)).refused).toEqual(['link add a'])
    expect(told(executing(lack).executor.runGroups([lines], true)).refused).toHaveLength(3)
  })

  test('for IPv6 has the family before it', () => {
    const { asked, executor } = executing()
    executor.runGroups([[of('ip', '-6 rule add x', inside), of('ip', '-6 rule add y', inside)]], false)
    expect(asked).toEqual(['nsenter --net=/n ip -6 -batch - | rule add x | rule add y'])
  })
})

describe('settings inside', () => {
  const plan = [
    of('sysctl', '-w net/a=1', inside),
    of('sysctl', '-w net/b=2', { ...inside, tolerate: ['absent'] }),
    of('ip', 'link set x up', inside),
  ]
  const asked = 'nsenter --net=/n sh !net/a=1 ?net/b=2 | link set x up'

  test('and what is behind them is one command, whose status says which was refused', () => {
    const second = executing({ status: 101, stderr: 'sh: cannot create /proc/sys/net/b: Permission denied' })
    const report = told(second.executor.runGroups([plan], false))
    expect([report, second.asked]).toEqual([{ ran: ['-w net/a=1'], refused: ['-w net/b=2'], unclear: [] }, [asked]])
    const behind = executing({ status: 1, stderr: 'RTNETLINK answers: File exists\nCommand failed -:1\n' })
    expect(told(behind.executor.runGroups([plan], false))).toEqual({
      ran: ['-w net/a=1', '-w net/b=2'],
      refused: ['link set x up'],
      unclear: [],
    })
    const killed = executing({ status: null, signal: 'SIGKILL' })
    expect(told(killed.executor.runGroups([plan], false)).unclear).toHaveLength(3)
    const none = executing({ status: null, failure: 'ENOENT' })
    expect(told(none.executor.runGroups([plan], false))).toEqual({ ran: [], refused: ['-w net/a=1'], unclear: [] })
    const noTool = executing({ status: 127, failure: 'ENOENT', stderr: 'sh: 9: exec: ip: not found' })
    expect(told(noTool.executor.runGroups([plan], false)).unclear).toHaveLength(3)
  })

  test('of a sweep are written one by one when one is refused, and what is behind them after that', () => {
    const denied = { status: 100, stderr: 'sh: cannot create /proc/sys/net/a: Permission denied' }
    const { asked: all, executor } = executing(denied, denied)
    expect(told(executor.runGroups([plan], true))).toEqual({
      ran: ['-w net/b=2', 'link set x up'],
      refused: ['-w net/a=1'],
      unclear: [],
    })
    expect(all).toEqual([
      asked,
      'nsenter --net=/n sh !net/a=1',
      'nsenter --net=/n sh ?net/b=2',
      'nsenter --net=/n ip -force -batch - | link set x up',
    ])
    const alone = executing(denied)
    expect(told(alone.executor.runGroups([plan.slice(0, 1)], true)).refused).toEqual(['-w net/a=1'])
    expect(alone.asked).toHaveLength(1)
    const two = executing(denied, denied)
    expect(told(two.executor.runGroups([plan.slice(0, 2)], true)).ran).toEqual(['-w net/b=2'])
    expect(two.asked).toHaveLength(3)
  })
})

describe('iptables', () => {
  const [a, b, c] = [of('iptables', '-t nat -N A'), of('iptables', '-t nat -N B'), of('iptables', '-t filter -N C')]
  const restore = (table: string, ...rules: string[]) =>
    ['iptables-restore --noflush --wait', `*${table}`, ...rules, 'COMMIT'].join(' | ')

  test('takes the neighbours of a table as one transaction, and nothing behind one that was refused', () => {
    const good = executing()
    expect(told(good.executor.runGroups([[a, b, c]], false)).ran).toHaveLength(3)
    expect(good.asked).toEqual([restore('nat', '-N A', '-N B'), restore('filter', '-N C')])
    const bad = executing(oh)
    expect(told(bad.executor.runGroups([[a, b, c]], false))).toEqual({ ran: [], refused: ['-t nat -N A'], unclear: [] })
    expect(bad.asked).toHaveLength(1)
  })

  test('in a sweep is split until the culprit stands alone, and goes on', () => {
    const { asked, executor } = executing(oh, oh)
    expect(told(executor.runGroups([[a, b, c]], true))).toEqual({
      ran: ['-t nat -N B', '-t filter -N C'],
      refused: ['-t nat -N A'],
      unclear: [],
    })
    expect(asked).toEqual([
      restore('nat', '-N A', '-N B'),
      restore('nat', '-N A'),
      restore('nat', '-N B'),
      restore('filter', '-N C'),
    ])
  })

  test('that ended otherwise may have done it; that was not started has not', () => {
    for (const end of [
      { status: 5, stderr: 'iptables-restore: oh' },
      { status: 1, stderr: 'oh' },
      { status: null, signal: 'SIGKILL' },
    ]) {
      expect(told(executing(end).executor.runGroups([[a, b]], false)).unclear).toHaveLength(2)
    }
    const lack = { status: null, failure: 'EAGAIN' }
    expect(told(executing(lack).executor.runGroups([[a, b]], false)).refused).toEqual(['-t nat -N A'])
    const swept = executing(lack, lack)
    expect(told(swept.executor.runGroups([[a, b]], true)).refused).toHaveLength(2)
    expect(swept.asked).toHaveLength(1)
  })
})

describe('nft', () => {
  const table = of('nft', 'add table ip t')
  const old = of('nft', 'delete element ip t s { x }')
  const [a, b] = [
    of('nft', 'add element ip t s { x }', { needs: [table], displaces: [old] }),
    of('nft', 'add element ip t s { y }', { needs: [table] }),
  ]
  const [absent, exists] = [
    { status: 1, stderr: 'Error: No such file or directory' },
    { status: 1, stderr: 'Error: File exists' },
  ]
  const send = (...lines: Operation[]) => ['nft -f -', ...lines.map(({ argv }) => argv.join(' '))].join(' | ')

  test('gets declarations, once, when something is absent, and room when something exists', () => {
    const { asked, executor } = executing(absent, exists)
    expect(told(executor.runGroups([[a, b]], false)).ran).toHaveLength(2)
    expect(asked).toEqual([send(a, b), send(table, a, b), send(old, table, a, b)])
    const other = executing({ status: 1, stderr: 'Error: oh' })
    expect(told(other.executor.runGroups([[a, b]], false)).refused).toHaveLength(1)
    expect(other.asked).toHaveLength(1)
  })

  test('names the line that was refused, counted from the first that was sent', () => {
    const second = { status: 1, stderr: '/dev/stdin:2:1-9: Error: oh' }
    expect(told(executing(second).executor.runGroups([[a, b]], false)).refused).toEqual([b?.argv.join(' ')])
    const tolerant = { ...(b as Operation), tolerate: ['absent' as const] }
    const gone = { status: 1, stderr: '/dev/stdin:2:1-9: Error: No such file or directory' }
    const plain = of('nft', 'add chain ip t c')
    expect(told(executing(gone, gone).executor.runGroups([[plain, tolerant]], false)).refused).toEqual([
      'add chain ip t c',
    ])
  })

  test('without a process has no culprit: the first is said, of a sweep all', () => {
    const lack = { status: null, failure: 'EAGAIN' }
    const of = (keepGoing: boolean) =>
      told(executing(lack).executor.runGroups([[a, b] as Operation[]], keepGoing)).refused
    expect([of(false).length, of(true).length]).toEqual([1, 2])
  })
})

test('a tool that takes one change a process is refused with a reason, or unclear', () => {
  const flow = of('conntrack', '-D -p udp', inside)
  const ended = (end: Partial<Outcome>) => {
    const { asked, executor } = executing(end)
    const report = told(executor.runGroups([[flow]], false))
    expect(asked).toEqual(['nsenter --net=/n conntrack -D -p udp'])
    return Object.entries(report).find(([, list]) => list.length > 0)?.[0]
  }
  expect(ended({})).toBe('ran')
  expect(ended({ status: 1, stderr: 'conntrack v1: 0 flow entries have been deleted' })).toBe('refused')
  expect(ended({ status: null, failure: 'ENOENT' })).toBe('refused')
  expect(ended({ status: 1, stderr: 'oh' })).toBe('unclear')
  expect(ended({ status: null, signal: 'SIGKILL', stderr: 'Operation not permitted' })).toBe('unclear')
})

test('several groups are one process', () => {
  const { asked, executor } = executing()
  executor.runGroups([[of('ip', 'a')], [of('nft', 'n')]], false)
  expect(asked).toEqual(['together: 2'])
})

test('the kernel is asked where it can be, and else nothing of it', () => {
  const tools = { run: () => expect.fail('executed'), files: {} as Files }
  const direct = (has: unknown) => createExecutor(tools, { has: () => has } as unknown as Netlink).isDirect()
  expect([direct(true), direct(false), direct('unknown')]).toEqual([true, true, false])
  expect(createExecutor(tools).isDirect()).toBe(false)
  const plan = [of('ip', 'a')]
  expect(createExecutor(tools).request(plan, () => undefined)).toEqual({ left: plan })
})
