import {
  existsSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { thrownBy } from '../testing/thrown.js'
import { codes } from '../values/errors.js'
import type { Command, Outcome } from './command.js'
import { takeOwnLock, withNetnsLock, withOwnLock } from './lock.js'
import { keepStateIn, stateRoot } from './state.js'
import { createToolLock } from './tool-lock.js'

const usual = stateRoot
let directory: string
let root: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'own-lock-'))
  root = join(directory, 'state')
  keepStateIn(root)
})
afterEach(() => {
  keepStateIn(usual)
  rmSync(directory, { recursive: true })
})

const held: Outcome = { status: 75, signal: null, stdout: '', stderr: '' }

/** A machine that gets every lock at once, but for those that `isHeld`; `heard` is what it ran and said. */
function hosted({ dryRun = false, isHeld = () => false as boolean, outcome = {} as Partial<Outcome> } = {}) {
  const heard: string[] = []
  const commands: Command[] = []
  const run = (command: Command): Outcome => {
    commands.push(command)
    heard.push(command.argv.join(' '))
    return command.argv[0] === 'flock' ? held : { status: 0, signal: null, stdout: '', stderr: '', ...outcome }
  }
  const host = { run, observer: { tryLock: () => !isHeld() }, dryRun, warn: (text: string) => heard.push(text) }
  return { host, heard, commands }
}

const locks = () => (existsSync(root) ? readdirSync(root).sort() : [])

describe('a lock of our own', () => {
  test('lies where nobody else can take it, and stays', () => {
    const { host } = hosted()
    expect(withOwnLock(host, 'a/lock', () => 'done')).toBe('done')
    expect(statSync(join(root, 'a')).mode & 0o777).toBe(0o700)
    expect(statSync(join(root, 'a/lock')).mode & 0o777).toBe(0o600)
  })

  test('is not taken in a dry run', () => {
    expect(withOwnLock(hosted({ dryRun: true }).host, 'lock', () => 'done')).toBe('done')
    expect(withNetnsLock(hosted({ dryRun: true }).host, '/proc/self/ns/net', () => 'done')).toBe('done')
    expect(locks()).toEqual([])
  })

  test.each<[string, (path: string) => void]>([
    ['an empty directory', (path) => mkdirSync(path)],
    ['a symbolic link', (path) => symlinkSync(join(directory, 'elsewhere'), path)],
  ])('takes the place of %s', (_, plant) => {
    mkdirSync(root)
    plant(join(root, 'lock'))
    expect(withOwnLock(hosted().host, 'lock', () => statSync(join(root, 'lock')).isFile())).toBe(true)
    expect(existsSync(join(directory, 'elsewhere'))).toBe(false)
  })

  test('does not take that of a directory with something in it, and says so', () => {
    mkdirSync(join(root, 'lock/full'), { recursive: true })
    const error = thrownBy(() => withOwnLock(hosted().host, 'lock', () => expect.fail('ran')))
    expect(error).toMatchObject({ code: codes.ioFailure, message: `cannot open the lock file ${join(root, 'lock')}` })
  })

  test('is refused where its folder cannot be made', () => {
    mkdirSync(root)
    writeFileSync(join(root, 'a'), '')
    expect(thrownBy(() => withOwnLock(hosted().host, 'a/lock', () => 0)).code).toBe(codes.ioFailure)
  })

  test('is gone without where no state can be, with a warning', () => {
    writeFileSync(root, '')
    const { host, heard } = hosted()
    expect(withOwnLock(host, 'lock', () => 'ran')).toBe('ran')
    expect(heard).toEqual([expect.stringContaining(`${root} is no directory: going on without the lock`)])
  })

  test('that somebody keeps is named, with who it is where /proc shows it', () => {
    const error = thrownBy(() => withOwnLock(hosted({ isHeld: () => true }).host, 'lock', () => expect.fail('ran')))
    expect(error).toMatchObject({ code: codes.tryAgainLater, message: expect.stringContaining('more than 60 s') })
    expect(error.details).toContain(`a process that /proc does not show here holds the lock ${join(root, 'lock')}`)
  })

  test('held for others goes with its file, unless they are to be waited for', () => {
    const path = join(root, 'lock')
    const first = takeOwnLock(path, hosted())
    expect(fstatSync(first.fd).isFile()).toBe(true)
    first.release({ keepsFile: true })
    expect(existsSync(path)).toBe(true)
    expect(() => fstatSync(first.fd)).toThrow('EBADF')
    takeOwnLock(path, hosted()).release()
    expect(existsSync(path)).toBe(false)
  })
})

describe('alone in a namespace', () => {
  const netns = '/proc/self/ns/net'

  test('is by a lock of its own, gone with the last', () => {
    const { dev, ino } = statSync(netns)
    const inside = withNetnsLock(hosted().host, netns, locks)
    expect(inside).toEqual([`netns-${dev}-${ino}.lock`])
    expect(locks()).toEqual([])
  })

  test('waits a second for the official plugin, then goes on and says so', () => {
    let taken = 0
    const { host, heard, commands } = hosted({ isHeld: () => taken++ === 1 })
    expect(withNetnsLock(host, netns, () => 'done', { official: true })).toBe('done')
    expect(commands.map(({ argv }) => argv.join(' '))).toEqual(['flock -x -w 1 -E 75 3'])
    expect(heard.at(-1)).toContain('podwire: going on without the lock that the official plugin takes')
    expect(locks()).toEqual([])
  })

  test('leaves nothing open, also where the body throws', () => {
    const before = readdirSync('/proc/self/fd').length
    const failing = () => {
      throw new Error('no')
    }
    for (const official of [false, true]) {
      expect(() => withNetnsLock(hosted().host, netns, failing, { official })).toThrow('no')
      withNetnsLock(hosted().host, netns, () => 0, { official })
    }
    expect(readdirSync('/proc/self/fd').length).toBe(before)
    expect(locks()).toEqual([])
  })
})

describe('the lock of tools', () => {
  const attachment = { network: 'net', containerID: 'c1', ifName: 'eth0' }
  const lockOf = (more: object = {}, machine = hosted()) => {
    const { host, heard, commands } = machine
    return {
      lock: createToolLock({ ...attachment, ...more }, { host, warn: (text) => heard.push(text) }),
      heard,
      commands,
    }
  }
  /** What a killed call leaves: its lock's file, which its tools have open. */
  const left = (more: object = {}) => {
    const { lock } = lockOf(more, hosted({ outcome: { exceeded: true } }))
    lock.run({ argv: ['ip', 'link'] })
    lock.release()
    return locks()
  }

  test('is taken at the first tool and given to each; it goes with the call', () => {
    const { lock, commands } = lockOf()
    lock.waitForEarlier()
    expect(locks()).toEqual([])
    for (const argv of [
      ['ip', 'link'],
      ['nft', '-f', '-'],
    ] as const)
      lock.run({ argv })
    expect(locks()).toHaveLength(1)
    const [first, second] = commands.map((command) => command.lock)
    expect([typeof first, second]).toEqual(['number', first])
    lock.release()
    expect(locks()).toEqual([])
    lock.release()
  })

  test('other plugins do not get it, nor who waits for another lock', () => {
    const { lock, commands } = lockOf()
    lock.run({ argv: ['/opt/cni/bin/dhcp'], env: {} })
    lock.run({ argv: ['flock', '-x'] })
    expect(commands.map((command) => command.lock)).toEqual([undefined, undefined])
    expect(locks()).toEqual([])
  })

  test('stays where a tool took too long: it may go on', () => {
    expect(left()).toHaveLength(1)
  })

  test('the next call for the attachment waits for what it finds, and no other', () => {
    left()
    const machine = hosted({ isHeld: () => true })
    const waiting = lockOf({}, machine)
    const error = thrownBy(() => waiting.lock.waitForEarlier())
    expect(error).toMatchObject({ code: codes.tryAgainLater, message: expect.stringContaining('is still at work') })
    expect(machine.heard).toEqual(['flock -x -w 30 -E 75 3'])
    for (const more of [{ ifName: 'eth1' }, { containerID: 'c2' }, { network: 'net2' }])
      lockOf(more, hosted({ isHeld: () => true })).lock.waitForEarlier()
  })

  test('a GC waits for all of its network but the valid ones, and every call for a GC', () => {
    left()
    left({ containerID: 'c2' })
    left({ network: 'net2' })
    const gc = { containerID: '', ifName: '' }
    const waits = (more: object, valid?: { containerID: string; ifname: string }[]) => {
      const machine = hosted({ isHeld: () => true })
      try {
        lockOf(more, machine).lock.waitForEarlier(valid)
        return false
      } catch {
        return machine.heard.length > 0
      }
    }
    const valid = ['c1', 'c2'].map((containerID) => ({ containerID, ifname: 'eth0' }))
    expect([waits(gc), waits(gc, valid), waits(gc, valid.slice(1)), waits({ ...gc, network: 'net3' })]).toEqual([
      true,
      false,
      true,
      false,
    ])
    left(gc)
    expect([waits({ containerID: 'c9' }), waits({ containerID: 'c9', network: 'net3' })]).toEqual([true, false])
  })

  test('an earlier call that has ended is no hindrance, and its file goes', () => {
    left()
    const { lock } = lockOf()
    lock.waitForEarlier()
    lock.release()
    expect(locks()).toEqual([])
  })

  test('where no state can be written tools go on without it, which is said once', () => {
    writeFileSync(root, '')
    const { lock, heard, commands } = lockOf()
    lock.waitForEarlier()
    for (let time = 0; time < 2; time++) lock.run({ argv: ['ip', 'link'] })
    expect(commands.map((command) => command.lock)).toEqual([undefined, undefined])
    expect(heard.filter((text) => text.includes('tools go on without a lock'))).toHaveLength(1)
    lock.release()
  })
})
