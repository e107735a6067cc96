import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { lateDisk, restored } from '../../shared/testing/power.js'
import { formatAddress, parseAddress } from '../../shared/values/address.js'
import { CniError } from '../../shared/values/errors.js'
import { acquire } from './acquire.js'
import { type Epoch, epochOf } from './epoch.js'
import { type LeaseFiles, systemLeaseFiles } from './files.js'
import type { Owner } from './lease.js'
import { collectRangeSets, readRangeSets } from './ranges.js'
import { openStore, type Store } from './store.js'

const machine = '0123456789abcdef0123456789abcdef'
const boot1 = epochOf(() => machine, 'boot-1')
const boot2 = epochOf(() => machine, 'boot-2')
const dual = ['10.0.0.0/15', 'fd00::/64']

let dataDir: string
let directory: string
let warnings: string[]
/** Whether the lock is free. */
let isFree = true

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'leases-'))
  directory = join(dataDir, 'net')
  warnings = []
  isFree = true
})
afterEach(() => rmSync(dataDir, { recursive: true }))

function store({ files = systemLeaseFiles, epoch = boot1 }: { files?: LeaseFiles; epoch?: Epoch } = {}): Store {
  const lock = <T>(path: string, body: () => T): T => {
    writeFileSync(path, '', { mode: 0o750, flag: 'a' })
    return body()
  }
  return openStore({
    dataDir,
    network: 'net',
    files,
    epoch,
    lock,
    isUnlocked: () => isFree,
    warn: (text) => warnings.push(text),
  })
}

function owner(name: string): Owner {
  const [containerID = '', ifName = ''] = name.split(' ')
  return { containerID, ifName }
}

/** Acquires an address of each subnet; returns them as text. */
function add(name: string, subnets: string[] = ['10.1.2.0/24'], from = store()): string[] {
  const { sets } = readRangeSets(collectRangeSets({ configured: subnets.map((subnet) => [{ subnet }]) }))
  from.create()
  const choices = from.change((leases) => acquire(leases, owner(name), { sets, requested: [] }))
  return (choices ?? []).map(({ address }) => formatAddress(address))
}

function del(name: string, from = store()): void {
  from.change((leases) => leases.release(leases.of(owner(name))))
}

/** What the owner holds by the index, and the same by reading everything; both must agree. */
function held(name: string, from = store()): string[] {
  const quick = from.look((view) => view.of(owner(name)).map(({ file }) => file))
  const slow = from.look((view) => view.all().filter((one) => one.owner.containerID === owner(name).containerID))
  if (quick.length > 0) expect(slow.map(({ file }) => file).sort()).toEqual(expect.arrayContaining([...quick].sort()))
  return [...quick].sort()
}

/** The lease files and their content, as somebody else sees them. */
function onDisk(): Record<string, string> {
  const names = readdirSync(directory).filter((name) => parseAddress(name) !== undefined)
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(directory, name), 'latin1')]))
}

/** As the official plugin writes: no care for our index. */
function foreign(file: string, text: string): void {
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, file), text, { mode: 0o600 })
}

/** Runs `body` with every system call counted by name. */
function counted(body: (files: LeaseFiles) => void): Record<string, number> {
  const counts: Record<string, number> = {}
  const entries = Object.entries(systemLeaseFiles).map(([name, call]) => {
    const counting = (...args: never[]) => {
      counts[name] = (counts[name] ?? 0) + 1
      return (call as (...args: never[]) => unknown)(...args)
    }
    return [name, counting]
  })
  body(Object.fromEntries(entries) as LeaseFiles)
  return counts
}

describe('the layout on disk', () => {
  test('is the official one, byte for byte and mode for mode', () => {
    expect(add('c1id eth0', dual)).toEqual(['10.0.0.2', 'fd00::2'])
    expect(readdirSync(directory).sort()).toEqual([
      '10.0.0.2',
      'fd00::2',
      'last_reserved_ip.0',
      'last_reserved_ip.1',
      'lock',
    ])
    expect(onDisk()).toEqual({ '10.0.0.2': 'c1id\r\neth0', 'fd00::2': 'c1id\r\neth0' })
    expect(readFileSync(join(directory, 'last_reserved_ip.1'), 'latin1')).toBe('fd00::2')
    const modes = ['.', '10.0.0.2', 'last_reserved_ip.0'].map((name) =>
      (statSync(join(directory, name)).mode & 0o777).toString(8),
    )
    expect(modes).toEqual(['755', '600', '600'])
  })

  test('DEL leaves the cursor and the lock, and no network directory where none was', () => {
    add('c1 eth0')
    del('c1 eth0')
    expect(readdirSync(directory).sort()).toEqual(['last_reserved_ip.0', 'lock'])
    expect(add('c2 eth0')).toEqual(['10.1.2.3'])
    rmSync(directory, { recursive: true })
    del('c1 eth0')
    expect(readdirSync(dataDir)).not.toContain('net')
  })

  test('an unreadable cursor only costs the place in the round', () => {
    add('c1 eth0')
    foreign('last_reserved_ip.0', '10.1.2.77\n')
    expect(add('c2 eth0')).toEqual(['10.1.2.3'])
  })
})

describe('owners', () => {
  test('the same attachment gets the same addresses again, another interface others', () => {
    expect(add('c1 eth0', dual)).toEqual(['10.0.0.2', 'fd00::2'])
    expect(add('c1 eth0', dual)).toEqual(['10.0.0.2', 'fd00::2'])
    expect(add('c1 eth1', dual)).toEqual(['10.0.0.3', 'fd00::3'])
    del('c1 eth0')
    expect(held('c1 eth1')).toEqual(['10.0.0.3', 'fd00::3'])
    expect(held('c1 eth0')).toEqual([])
  })

  test('a second range set later adds its address to what is held', () => {
    add('c1 eth0', ['10.0.0.0/15'])
    expect(add('c1 eth0', dual)).toEqual(['10.0.0.2', 'fd00::2'])
    expect(held('c1 eth0')).toEqual(['10.0.0.2', 'fd00::2'])
    del('c1 eth0')
    expect(onDisk()).toEqual({})
  })

  test('files that name no interface count for the whole container, until one names it', () => {
    foreign('10.1.2.9', 'old\n')
    expect(held('old eth0')).toEqual(['10.1.2.9'])
    expect(() => add('old eth0')).toThrow('10.1.2.9 has been allocated to old, duplicate allocation is not allowed')
    foreign('10.1.2.10', 'old\r\neth0')
    expect(held('old eth0')).toEqual(['10.1.2.10'])
    del('old eth0')
    expect(onDisk()).toEqual({ '10.1.2.9': 'old\n' })
    del('old eth0')
    expect(onDisk()).toEqual({})
  })

  test('a container ID that looks like an address frees no cursor', () => {
    add('c1 eth0')
    del('10.1.2.2 eth0')
    expect(readdirSync(directory)).toContain('last_reserved_ip.0')
    expect(held('c1 eth0')).toEqual(['10.1.2.2'])
  })

  test('very long container IDs are kept apart', () => {
    const [long, longer] = [`${'x'.repeat(240)}a`, `${'x'.repeat(240)}b`]
    add(`${long} eth0`)
    add(`${longer} eth0`)
    expect([held(`${long} eth0`), held(`${longer} eth0`)]).toEqual([['10.1.2.2'], ['10.1.2.3']])
    del(`${long} eth0`)
    expect(held(`${longer} eth0`)).toEqual(['10.1.2.3'])
  })

  test('a block reserved in one name, too long for a record, is found and freed all the same', () => {
    for (let number = 0; number < 600; number++) foreign(`10.0.${10 + (number >> 8)}.${number & 255}`, 'printers')
    add('c1 eth0', dual)
    expect(warnings).toEqual([])
    expect(held('printers eth0')).toHaveLength(600)
    del('printers eth0')
    expect(Object.keys(onDisk()).sort()).toEqual(['10.0.0.2', 'fd00::2'])
  })

  test('sub-directories, links and other names are left alone', () => {
    add('c1 eth0')
    mkdirSync(join(directory, '10.1.2.3'))
    writeFileSync(join(directory, '10.1.2.3', '10.1.2.4'), 'c1\r\neth0')
    symlinkSync('/nowhere', join(directory, '10.1.2.4'))
    writeFileSync(join(directory, 'notes'), 'c1\r\neth0')
    expect(add('c2 eth0')).toEqual(['10.1.2.5'])
    del('c1 eth0')
    expect(readdirSync(directory).sort()).toEqual([
      '10.1.2.3',
      '10.1.2.4',
      '10.1.2.5',
      'last_reserved_ip.0',
      'lock',
      'notes',
    ])
    expect(readdirSync(join(directory, '10.1.2.3'))).toEqual(['10.1.2.4'])
  })
})

describe('others at work on the same directory', () => {
  test('their leases are seen, honoured and freed', () => {
    add('c1 eth0')
    foreign('10.1.2.3', 'theirs\r\neth0')
    expect(held('theirs eth0')).toEqual(['10.1.2.3'])
    expect(add('c2 eth0')).toEqual(['10.1.2.4'])
    expect(add('theirs eth0')).toEqual(['10.1.2.3'])
    del('theirs eth0')
    expect(Object.keys(onDisk()).sort()).toEqual(['10.1.2.2', '10.1.2.4'])
  })

  test('a lease removed behind our back is free, and its record is not believed', () => {
    add('c1 eth0')
    const before = statSync(directory)
    rmSync(join(directory, '10.1.2.2'))
    expect(held('c1 eth0')).toEqual([])
    utimesSync(directory, before.atime, before.mtime)
    expect(held('c1 eth0')).toEqual([])
    foreign('10.1.2.2', 'c2\r\neth0')
    utimesSync(directory, before.atime, before.mtime)
    del('c1 eth0')
    expect(onDisk()).toEqual({ '10.1.2.2': 'c2\r\neth0' })
  })

  /** Writes into a file that is there, which leaves the directory as it was sealed. */
  function rewrite(file: string, text: string): void {
    const before = statSync(directory).mtimeMs
    writeFileSync(join(directory, file), text)
    expect(statSync(directory).mtimeMs).toBe(before)
  }

  test.each(['c1', 'c1\n', ' c1 \r\n'])("a lease rewritten in place as %j is the whole container's", (text) => {
    add('c1 eth0', dual)
    add('c2 eth0', dual)
    rewrite('10.0.0.2', text)
    rewrite('fd00::2', text)
    expect(held('c1 eth0')).toEqual(['10.0.0.2', 'fd00::2'])
    expect(() => add('c1 eth0', dual)).toThrow('has been allocated to c1, duplicate allocation is not allowed')
    del('c1 eth0')
    expect(Object.keys(onDisk()).sort()).toEqual(['10.0.0.3', 'fd00::3'])
    expect(held('c2 eth0')).toEqual(['10.0.0.3', 'fd00::3'])
    expect(readdirSync(join(dataDir, '.podwire/net')).some((name) => name.startsWith('c1'))).toBe(false)
  })

  test('a lease rewritten in place, there and back and to another container, is what its file says at each moment', () => {
    add('c1 eth0')
    foreign('10.1.2.3', 'theirs\r\neth0')
    add('c2 eth0')
    rewrite('10.1.2.3', 'theirs')
    expect(held('theirs eth0')).toEqual(['10.1.2.3'])
    rewrite('10.1.2.3', 'theirs\r\neth1')
    expect(held('theirs eth0')).toEqual([])
    del('theirs eth0')
    expect(held('theirs eth1')).toEqual(['10.1.2.3'])
    rewrite('10.1.2.2', 'c9')
    del('c1 eth0')
    expect(held('c9 eth0')).toEqual(['10.1.2.2'])
    del('c9 eth0')
    del('theirs eth1')
    expect(Object.keys(onDisk())).toEqual(['10.1.2.4'])
  })

  test.each(['', 'garbage', 'e ..//=x', 'e 10.1.2.200=x', 'e 10.0.0.2=x 10.1.2.200=x'])(
    'a record that says %j is none',
    (target) => {
      add('c1 eth0', dual)
      add('c2 eth0', dual)
      const record = join(dataDir, '.podwire/net/c1:eth0')
      rmSync(record)
      if (target === '') writeFileSync(record, target)
      else symlinkSync(target, record)
      expect(held('c1 eth0')).toEqual(['10.0.0.2', 'fd00::2'])
      del('c1 eth0')
      expect(Object.keys(onDisk()).sort()).toEqual(['10.0.0.3', 'fd00::3'])
    },
  )

  test.each([
    ['the index', () => rmSync(join(dataDir, '.podwire'), { recursive: true })],
    ['its records', () => rmSync(join(dataDir, '.podwire/net/=seal'))],
  ])('%s removed: all leases are found again', (_, damage) => {
    add('c1 eth0', dual)
    damage()
    expect(held('c1 eth0')).toEqual(['10.0.0.2', 'fd00::2'])
    expect(add('c1 eth0', dual)).toEqual(['10.0.0.2', 'fd00::2'])
    del('c1 eth0')
    expect(onDisk()).toEqual({})
  })

  test('the directory removed and made again: the old records count for nothing', () => {
    add('c1 eth0')
    rmSync(directory, { recursive: true })
    foreign('10.1.2.2', 'c2\r\neth0')
    expect(held('c1 eth0')).toEqual([])
    expect(add('c1 eth0')).toEqual(['10.1.2.3'])
  })

  test('empty and garbled files are healed; text of any other kind stays', () => {
    foreign('10.1.2.2', '')
    foreign('10.1.2.3', ' \r\n')
    foreign('10.1.2.4', '\0\0\0\0\0\0')
    foreign('10.1.2.5', 'for the printer, do not use')
    foreign('.podwire-draft', 'c9\r\neth0')
    expect(add('c1 eth0')).toEqual(['10.1.2.2'])
    expect(onDisk()).toEqual({ '10.1.2.2': 'c1\r\neth0', '10.1.2.5': 'for the printer, do not use' })
    expect(readdirSync(directory)).not.toContain('.podwire-draft')
    expect(['c2', 'c3', 'c4'].map((id) => add(`${id} eth0`)[0])).toEqual(['10.1.2.3', '10.1.2.4', '10.1.2.6'])
  })

  test('looking heals nothing: an empty file may be one that is just being written', () => {
    foreign('10.1.2.2', '')
    expect(held('c1 eth0')).toEqual([])
    expect(onDisk()).toEqual({ '10.1.2.2': '' })
  })

  test('somebody without the lock takes the chosen address: the next one is given', () => {
    let raced = false
    const linkSync: LeaseFiles['linkSync'] = (from, to) => {
      if (!raced) foreign('10.1.2.2', 'thief\r\neth0')
      raced = true
      systemLeaseFiles.linkSync(from, to)
    }
    expect(add('c1 eth0', ['10.1.2.0/24'], store({ files: { ...systemLeaseFiles, linkSync } }))).toEqual(['10.1.2.3'])
    expect(onDisk()).toEqual({ '10.1.2.2': 'thief\r\neth0', '10.1.2.3': 'c1\r\neth0' })
  })
})

describe('a full range', () => {
  const tiny = ['10.1.2.0/30']

  test('leases of this boot, of foreign plugins and of another machine are never taken', () => {
    add('c1 eth0', tiny)
    expect(() => add('c2 eth0', tiny)).toThrow('no IP addresses available in range set: 10.1.2.1-10.1.2.2')
    const elsewhere = store({ epoch: epochOf(() => 'fedcba9876543210fedcba9876543210', 'boot-9') })
    expect(() => add('c2 eth0', tiny, elsewhere)).toThrow('no IP addresses available')
    del('c1 eth0')
    foreign('10.1.2.2', 'theirs\r\neth0')
    add('warm-up eth0', ['10.9.0.0/24'])
    expect(() => add('c2 eth0', tiny, store({ epoch: boot2 }))).toThrow('no IP addresses available')
    expect(held('theirs eth0')).toEqual(['10.1.2.2'])
  })

  test('leases that an earlier boot left make room, only then', () => {
    add('c1 eth0', tiny)
    add('other eth0', ['10.9.0.0/24'])
    const later = store({ epoch: boot2 })
    expect(held('c1 eth0', later)).toEqual(['10.1.2.2'])
    expect(add('c2 eth0', tiny, later)).toEqual(['10.1.2.2'])
    expect(onDisk()).toEqual({ '10.1.2.2': 'c2\r\neth0', '10.9.0.2': 'other\r\neth0' })
    del('c1 eth0', later)
    expect(held('c2 eth0', later)).toEqual(['10.1.2.2'])
  })

  test('an owner that asked again in this boot is alive', () => {
    add('c1 eth0', tiny)
    expect(add('c1 eth0', tiny, store({ epoch: boot2 }))).toEqual(['10.1.2.2'])
    expect(() => add('c2 eth0', tiny, store({ epoch: boot2 }))).toThrow('no IP addresses available')
  })

  test('an owner whose lease somebody else made again in this boot is alive', () => {
    add('c1 eth0', tiny)
    rmSync(join(directory, '10.1.2.2'))
    foreign('10.1.2.2', 'c1\r\neth0')
    expect(() => add('c2 eth0', tiny, store({ epoch: boot2 }))).toThrow('no IP addresses available')
    expect(held('c1 eth0')).toEqual(['10.1.2.2'])
  })
})

describe('cost', () => {
  /** Leases of somebody else from an address on, all one file, because names are much cheaper to make than files. */
  function take(first: string, count: number): void {
    const [high, low] = [first.slice(0, first.lastIndexOf('.')), Number(first.slice(first.lastIndexOf('.') + 1))]
    foreign(`${first}.0`, 'other\r\neth0')
    for (let number = 1; number < count; number++)
      linkSync(join(directory, `${first}.0`), join(directory, `${high}.${low + (number >> 8)}.${number & 255}`))
  }

  function fill(count: number): void {
    add('first eth0', dual)
    take('10.0.100', count)
    add('c0 eth9', dual)
  }

  test('ADD and DEL make the same system calls with 10 and with 2,000 leases', () => {
    const costs = [10, 2000].map((count) => {
      rmSync(dataDir, { recursive: true })
      fill(count)
      return [
        counted((files) => add('new eth0', dual, store({ files }))),
        counted((files) => add('new eth0', dual, store({ files }))),
        counted((files) => del('new eth0', store({ files }))),
        counted((files) => del('unknown eth0', store({ files }))),
      ]
    })
    expect(costs[1]).toEqual(costs[0])
    expect(costs[0]?.[0]).toMatchObject({ linkSync: 2, fsyncSync: 2 })
    expect(costs[0]?.[0]).not.toHaveProperty('readdirSync')
    expect(costs[0]?.[2]).toMatchObject({ readSync: 2, unlinkSync: 3 })
    expect(costs[0]?.[3]).not.toHaveProperty('readSync')
  })

  test('a long run of taken addresses costs one listing, not a look at each', () => {
    add('first eth0', ['10.9.0.0/24'])
    take('10.1.0', 3000)
    add('warm-up eth0', ['10.9.0.0/24'])
    foreign('last_reserved_ip.0', '10.1.0.0')
    const costs = counted((files) => {
      const { sets } = readRangeSets(collectRangeSets({ configured: [[{ subnet: '10.1.0.0/16' }]] }))
      const from = store({ files })
      const [choice] = from.change((leases) => acquire(leases, owner('new eth0'), { sets, requested: [] })) ?? []
      expect(choice && formatAddress(choice.address)).toBe('10.1.11.184')
    })
    expect(costs['readdirSync']).toBe(1)
    expect(costs['lstatSync']).toBeLessThan(3000)
    expect(costs['readSync']).toBe(1)
  })
})

test('the content is on disk before a lease has its name, and the name before ADD returns', () => {
  const calls: string[] = []
  const noted = <K extends 'fsyncSync' | 'linkSync'>(name: K): LeaseFiles[K] => {
    const call = (...args: never[]) => {
      calls.push(name)
      return (systemLeaseFiles[name] as (...args: never[]) => void)(...args)
    }
    return call as unknown as LeaseFiles[K]
  }
  const files = { ...systemLeaseFiles, fsyncSync: noted('fsyncSync'), linkSync: noted('linkSync') }
  add('c1 eth0', dual, store({ files }))
  expect(calls).toEqual(['fsyncSync', 'linkSync', 'linkSync', 'fsyncSync'])
})

test('whenever the power goes, a lease is whole or absent, and one that was given is there', () => {
  add('kept eth0', dual)
  const { files, after, now } = lateDisk(systemLeaseFiles, directory)
  add('new eth0', dual, store({ files }))
  expect(after.length).toBeGreaterThan(10)
  for (const remains of after) {
    for (const [name, text] of Object.entries(remains)) {
      if (parseAddress(name)) expect(['kept\r\neth0', 'new\r\neth0'], name).toContain(text)
    }
    rmSync(directory, { recursive: true })
    restored(remains, directory)
    // The next boot reads all, and gives what the container asks for again.
    add('new eth0', dual, store({ epoch: boot2 }))
    expect(Object.values(onDisk()).sort()).toEqual(['kept', 'kept', 'new', 'new'].map((one) => `${one}\r\neth0`))
  }
  for (const remains of now()) expect(Object.values(remains).filter((text) => text === 'new\r\neth0')).toHaveLength(2)
})

test.each([
  ['after some bytes', (fd: number, bytes: Buffer) => systemLeaseFiles.writeSync(fd, bytes, 0, 3)],
  ['at once', () => 0],
])('a disk that is full %s is told of, and no part of a lease stays', (_, first) => {
  add('kept eth0', dual)
  const before = onDisk()
  let calls = 0
  const writeSync = ((...args: [number, Buffer]) => {
    if (calls++ === 0) return first(...args)
    throw Object.assign(new Error('EFBIG: file too large'), { code: 'EFBIG' })
  }) as unknown as LeaseFiles['writeSync']
  expect(() => add('new eth0', dual, store({ files: { ...systemLeaseFiles, writeSync } }))).toThrow(CniError)
  expect(onDisk()).toEqual(before)
  expect(readdirSync(directory).filter((name) => name.startsWith('.'))).toEqual([])
})

/**
 * Breaks the n-th system call: with an error once (`fault`), or for ever after, as when the process is killed there.
 */
function breaking(at: number, kind: 'fault' | 'kill'): { files: LeaseFiles; reached: () => boolean } {
  let calls = 0
  const entries = Object.entries(systemLeaseFiles).map(([name, call]) => {
    const broken = (...args: never[]) => {
      calls++
      if (kind === 'kill' ? calls >= at : calls === at) throw Object.assign(new Error(`EIO: ${name}`), { code: 'EIO' })
      return (call as (...args: never[]) => unknown)(...args)
    }
    return [name, broken]
  })
  return { files: Object.fromEntries(entries) as LeaseFiles, reached: () => calls >= at }
}

describe.each(['fault', 'kill'] as const)('broken by a %s at every system call in turn', (kind) => {
  /** Calls `body` with a store broken at 1, 2, 3, ... until it gets through whole. */
  function atEveryCall(body: (broken: Store) => void, after: (thrown: unknown) => void): number {
    for (let at = 1; ; at++) {
      const { files, reached } = breaking(at, kind)
      let thrown: unknown
      try {
        body(store({ files }))
      } catch (error) {
        thrown = error
      }
      if (!reached()) return at - 1
      after(thrown)
    }
  }

  test.each([
    ['with the index', () => undefined],
    ['after a foreign change', () => foreign('10.7.7.7', 'theirs\r\neth0')],
  ])('ADD %s gives all or nothing, loses nothing and doubles nothing', (_, unsettle) => {
    add('kept eth0', dual)
    const calls = atEveryCall(
      (broken) => {
        unsettle()
        add('new eth0', dual, broken)
      },
      (thrown) => {
        expect(Object.values(onDisk()), 'no file is empty').not.toContain('')
        const left = Object.entries(onDisk()).filter(([, text]) => text === 'new\r\neth0')
        if (thrown && kind === 'fault') expect(left, String(thrown)).toEqual([])
        if (thrown) expect(thrown).toBeInstanceOf(CniError)
        expect(held('new eth0')).toEqual(left.map(([file]) => file).sort())
        expect(held('kept eth0')).toEqual(['10.0.0.2', 'fd00::2'])
        add('new eth0', dual)
        expect(held('new eth0')).toHaveLength(2)
        del('new eth0')
        expect(onDisk()).toEqual({ '10.0.0.2': 'kept\r\neth0', 'fd00::2': 'kept\r\neth0', ...theirs() })
        expect(readdirSync(directory).filter((name) => name.startsWith('.'))).toEqual([])
      },
    )
    expect(calls).toBeGreaterThan(20)
  })

  test('DEL frees what it says, and can always be repeated', () => {
    add('kept eth0', dual)
    add('gone eth0', dual)
    const calls = atEveryCall(
      (broken) => del('gone eth0', broken),
      (thrown) => {
        if (!thrown) expect(held('gone eth0')).toEqual([])
        del('gone eth0')
        expect(onDisk()).toEqual({ '10.0.0.2': 'kept\r\neth0', 'fd00::2': 'kept\r\neth0' })
        expect(held('kept eth0')).toEqual(['10.0.0.2', 'fd00::2'])
        add('gone eth0', dual)
      },
    )
    expect(calls).toBeGreaterThan(8)
  })

  function theirs(): Record<string, string> {
    return statSync(join(directory, '10.7.7.7'), { throwIfNoEntry: false }) ? { '10.7.7.7': 'theirs\r\neth0' } : {}
  }
})

test('an index that cannot be written costs a warning, never a lease', () => {
  const symlinkSync = () => {
    throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
  }
  const full = store({ files: { ...systemLeaseFiles, symlinkSync } })
  expect(add('c1 eth0', dual, full)).toEqual(['10.0.0.2', 'fd00::2'])
  expect(warnings.join()).toContain('ENOSPC')
  expect(held('c1 eth0', full)).toEqual(['10.0.0.2', 'fd00::2'])
  del('c1 eth0', full)
  expect(onDisk()).toEqual({})
})
