import { execFileSync } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { lateDisk } from '../testing/power.js'
import { errnoOf, messageOf } from '../values/errno.js'
import { asCniError, codes } from '../values/errors.js'
import {
  clearDrafts,
  mostBytes,
  namesIn,
  parseState,
  printState,
  readState,
  replaceState,
  type StateFiles,
  statusOf,
  systemStateFiles,
  Unusable,
  whyUnusable,
  writeNew,
} from './state.js'

let directory: string
let file: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'state-'))
  file = join(directory, 'file')
})
afterEach(() => rmSync(directory, { recursive: true }))

const drafts = () => ({ directory: join(directory, 'drafts'), prefix: 'file.' })
const read = (path: string) => readState(systemStateFiles, path)

/** The system's calls, some of them replaced. */
const changedBy = (changed: Partial<StateFiles>): StateFiles => ({ ...systemStateFiles, ...changed })
const failing = (code: string) => () => {
  throw Object.assign(new Error(`${code}: as told`), { code })
}

describe('reading', () => {
  test('gives the text; nothing where there is no file, or no directory on the way', () => {
    writeFileSync(file, 'text ü')
    expect(read(file)).toBe('text ü')
    expect(read(join(directory, 'none'))).toBeUndefined()
    expect(read(join(file, 'below'))).toBeUndefined()
  })

  test.each([
    ['a directory', () => mkdirSync(file), 'is no regular file'],
    ['a FIFO', () => execFileSync('mkfifo', [file]), 'is no regular file'],
    ['a symbolic link', () => symlinkSync('/etc/hostname', file), 'is a symbolic link'],
    ['a device', () => symlinkSync('/dev/null', file), 'is a symbolic link'],
    ['huge', () => execFileSync('truncate', ['-s', String(2 ** 33), file]), `has ${2 ** 33} bytes`],
  ])('refuses %s', (_, make, why) => {
    make()
    expect(() => read(file)).toThrow(Unusable)
    expect(() => read(file)).toThrow(why)
  })

  test('refuses what may not be read, and passes on what another try may find whole', () => {
    expect(() => readState(changedBy({ openSync: failing('EACCES') }), file)).toThrow(Unusable)
    expect(() => readState(changedBy({ openSync: failing('EMFILE') }), file)).toThrow('EMFILE: as told')
    expect(() => readState(changedBy({ openSync: failing('EMFILE') }), file)).not.toThrow(Unusable)
  })

  test('what nothing leads to is not there, also below a file', () => {
    writeFileSync(file, '')
    expect(statusOf(systemStateFiles, `${file}/below/it`)).toBeUndefined()
    expect(statusOf(systemStateFiles, `${file}.other`)).toBeUndefined()
    expect(statusOf(systemStateFiles, file)?.isFile()).toBe(true)
    expect(() => statusOf(changedBy({ lstatSync: failing('EIO') as StateFiles['lstatSync'] }), file)).toThrow('EIO')
  })

  test('a lack of open files or memory says nothing of the file, and is code 11', () => {
    const lack = (code: string) => Object.assign(new Error(`${code}: as told`), { code })
    for (const errno of ['EMFILE', 'ENFILE', 'ENOMEM']) {
      expect(() => whyUnusable(lack(errno))).toThrow(errno)
      expect(asCniError(lack(errno))).toMatchObject({
        code: codes.tryAgainLater,
        details: expect.stringContaining('raise'),
      })
    }
    expect(whyUnusable(lack('EIO'))).toContain('EIO')
  })

  test('a file of a person may be a link, and have no size', () => {
    writeFileSync(join(directory, 'target'), 'theirs')
    symlinkSync('target', file)
    expect(readState(systemStateFiles, file, { follows: true })).toBe('theirs')
    expect(readState(systemStateFiles, '/dev/null', { follows: true })).toBe('')
    expect(readState(systemStateFiles, '/dev/zero', { follows: true })?.length).toBeLessThan(mostBytes)
  })

  test.each(['', '{', 'null', '[]', '5', '"text"', 'true', '{"version":3}', '{"version":"2"}', '['.repeat(1e6)])(
    'no object of a known version: %.20s',
    (text) => {
      expect(() => parseState(text)).toThrow(Unusable)
    },
  )

  test('an object of either version, as it was printed', () => {
    expect(parseState('{"data":{}}')).toEqual({ data: {} })
    expect(parseState(printState({ data: {} }))).toEqual({ version: 2, data: {} })
  })
})

describe('writing', () => {
  test('makes the directories, and leaves no draft', () => {
    const deep = join(directory, 'some', 'where', 'file')
    replaceState(systemStateFiles, deep, 'text', drafts())
    expect([read(deep), readdirSync(drafts().directory)]).toEqual(['text', []])
  })

  test('goes on where the system takes a part only', () => {
    const bytewise = changedBy({
      writeSync: ((fd: number, bytes: Buffer, at: number) =>
        systemStateFiles.writeSync(fd, bytes, at, 1)) as StateFiles['writeSync'],
    })
    writeNew(bytewise, file, 'whole text ü')
    expect(read(file)).toBe('whole text ü')
  })

  test('takes no bytes at all for an error', () => {
    expect(() => writeNew(changedBy({ writeSync: () => 0 }), file, 'text')).toThrow('ENOSPC')
    expect(read(file)).toBeUndefined()
  })

  test.each(['short', 'EFBIG', 'EDQUOT', 'EIO', 'ENOSPC'])(
    'that ends by %s leaves the old file and no draft',
    (kind) => {
      replaceState(systemStateFiles, file, 'old', drafts())
      for (const name of ['openSync', 'writeSync', 'fsyncSync', 'closeSync', 'renameSync'] as const) {
        let calls = 0
        const breaking = ((...args: never[]) => {
          if (name === 'writeSync' && kind === 'short' && calls++ === 0) {
            const [fd, bytes] = args as unknown[] as [number, Buffer]
            return systemStateFiles.writeSync(fd, bytes, 0, 2)
          }
          if (name === 'closeSync') systemStateFiles.closeSync((args as unknown[])[0] as number)
          return failing(kind === 'short' ? 'EFBIG' : kind)()
        }) as never
        expect(() => replaceState(changedBy({ [name]: breaking }), file, 'new text', drafts()), name).toThrow()
        expect([read(file), readdirSync(drafts().directory)], name).toEqual(['old', []])
      }
    },
  )

  test('what would be too large to read is not written', () => {
    expect(() => replaceState(systemStateFiles, file, 'x'.repeat(mostBytes + 1), drafts())).toThrow('more than')
    expect(read(file)).toBeUndefined()
  })

  test('a draft that somebody clears meanwhile is written again', () => {
    replaceState(systemStateFiles, file, 'old', drafts())
    let cleared = 0
    const renaming = ((from: string, to: string) => {
      if (cleared++ < 3) clearDrafts(systemStateFiles, drafts())
      renameSync(from, to)
    }) as StateFiles['renameSync']
    replaceState(changedBy({ renameSync: renaming }), file, 'new', drafts())
    expect([read(file), cleared]).toEqual(['new', 4])
  })

  test('two writers at once have drafts of their own', () => {
    const seen: string[] = []
    const meeting = ((from: string, to: string) => {
      if (seen.length === 0) {
        seen.push(readFileSync(from, 'utf8'))
        replaceState(systemStateFiles, file, 'theirs', drafts())
        seen.push(readFileSync(from, 'utf8'))
      }
      renameSync(from, to)
    }) as StateFiles['renameSync']
    replaceState(changedBy({ renameSync: meeting }), file, 'ours', drafts())
    expect([seen, read(file)]).toEqual([['ours', 'ours'], 'ours'])
  })

  test('a link in the place of the file is replaced, not followed', () => {
    const victim = join(directory, 'victim')
    writeFileSync(victim, 'theirs')
    symlinkSync(victim, file)
    replaceState(systemStateFiles, file, 'ours', drafts())
    expect([readFileSync(victim, 'utf8'), read(file)]).toEqual(['theirs', 'ours'])
  })

  test('whenever the power goes, the file is the old one or the new one, whole', () => {
    writeFileSync(file, 'old text')
    const { files, after } = lateDisk(systemStateFiles, directory)
    replaceState(files, file, 'new text', { directory, prefix: 'draft.' })
    const texts = after.map((remains) => remains['file'])
    expect(new Set(texts)).toEqual(new Set(['old text', 'new text']))
  })
})

test('names are of a directory that is one', () => {
  writeFileSync(file, '')
  symlinkSync(directory, join(directory, 'link'))
  expect(namesIn(systemStateFiles, directory)).toEqual(['file', 'link'])
  expect(namesIn(systemStateFiles, join(directory, 'none'))).toEqual([])
  for (const path of [file, join(directory, 'link')]) expect(() => namesIn(systemStateFiles, path)).toThrow(Unusable)
})

test.each([
  [-122, 'EDQUOT', "EDQUOT: disk quota exceeded, unlink '/a'"],
  [-116, 'ESTALE', "ESTALE: stale file handle, unlink '/a'"],
  [-117, 'EUCLEAN', "EUCLEAN: the file system needs repair, unlink '/a'"],
  [-37, 'ENOLCK', "ENOLCK: no locks available, unlink '/a'"],
  [-28, 'ENOSPC', 'as Node says it'],
])('an error of a disk has its name, also where Node has none: %i', (errno, name, message) => {
  const code = errno === -28 ? 'ENOSPC' : 'UNKNOWN'
  const thrown = Object.assign(new Error('as Node says it'), { errno, code, syscall: 'unlink', path: '/a' })
  expect([errnoOf(thrown), messageOf(thrown)]).toEqual([name, message])
})
