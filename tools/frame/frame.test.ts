import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { commands } from 'podwire:tools'
import { afterAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { makeProgram } from '../../shared/podwire.js'
import { command } from '../../shared/testing/program.js'
import { candidates, shells } from './completion.js'
import { Console } from './console.js'
import { inRoot, listNames, mostBytes, placeOf, readText, Unseen } from './place.js'
import { visible, visibleJson, withoutMarkup } from './visible.js'

const folder = mkdtempSync(path.join(tmpdir(), 'podwire-frame-'))
afterAll(() => rmSync(folder, { recursive: true }))

const shown = commands.filter(({ isHidden }) => !isHidden)

describe('text of others', () => {
  test.each([
    ['a\x1b[31mb', 'a\\u{1b}[31mb'],
    ['a\nb\tc\0', 'a\\u{a}b\\u{9}c\\u{0}'],
    ['\u009b2J', '\\u{9b}2J'],
    ['\u202ecod.exe\u2066', '\\u{202e}cod.exe\\u{2066}'],
    ['a\u200bb\u00a0c\u2028', 'a\\u{200b}b\\u{a0}c\\u{2028}'],
    ['\ud800', '\ufffd'],
    ['Ünïcode 漢字 🐳', 'Ünïcode 漢字 🐳'],
  ])('%j is shown as %j', (text, shownText) => {
    expect(visible(text)).toBe(shownText)
  })

  test('stays the same value in JSON, and has no byte that a terminal acts on', () => {
    const value = { name: '\x1b]0;x\x07\u009b\u202e\u{e0001}', key: ['a\nb'] }
    const text = visibleJson(JSON.stringify(value, null, 2))
    expect(JSON.parse(text)).toEqual(value)
    expect(text.replaceAll('\n', '')).toMatch(/^[ -~]+$/)
  })

  test('is no markup', () => {
    expect(withoutMarkup('[x](http://y) `<b>` *')).toBe('\\[x\\](http://y) \\`\\<b\\>\\` \\*')
  })
})

describe('a console', () => {
  const written = (hasColors: boolean) => {
    const out: string[] = []
    const console = new Console({ writeOut: (text) => void out.push(text), writeErr: () => {}, hasColors })
    console.table(
      ['NAME', 'WHAT'],
      [
        ['a', '漢'],
        ['\x1b[2J', ''],
        ['long name', 'x'],
      ],
    )
    return out.join('')
  }

  test('prints columns, with wide characters and nothing that is not there', () => {
    expect(written(false)).toBe('NAME       WHAT\na          漢\n\\u{1b}[2J  -\nlong name  x\n')
  })

  test('has colours only where they are shown', () => {
    expect(written(true)).toContain('\x1b[1mNAME')
    expect(written(false)).not.toContain('\x1b')
  })

  test('tells of progress on a terminal, after a second, and takes the line back', () => {
    let now = 1_000_000
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => now)
    onTestFinished(() => clock.mockRestore())
    const err: string[] = []
    const output = { writeOut: () => {}, writeErr: (text: string) => void err.push(text) }
    const [seen, unseen] = [new Console({ ...output, showsProgress: true }), new Console(output)]
    now += 999
    seen.progress('too early')
    expect(err).toEqual([])
    now += 1
    unseen.progress('nobody looks')
    seen.progress('record 3 of 9')
    seen.write('done')
    expect(err).toEqual(['\r\x1b[Krecord 3 of 9', '\r\x1b[K'])
  })
})

describe('a place', () => {
  const root = path.join(folder, 'root')
  const place = placeOf({ root })
  mkdirSync(path.join(root, 'etc/real'), { recursive: true })
  writeFileSync(path.join(root, 'etc/real/file'), 'inside')
  writeFileSync(path.join(folder, 'outside'), 'outside')
  symlinkSync('/etc/real', path.join(root, 'etc/absolute'))
  symlinkSync('../../../../../outside', path.join(root, 'etc/escape'))
  symlinkSync('circle', path.join(root, 'etc/circle'))
  writeFileSync(path.join(root, 'etc/huge'), Buffer.alloc(mostBytes + 1))
  spawnSync('mkfifo', [path.join(root, 'etc/fifo')])

  test('follows links as its own root has them, never out of it', () => {
    expect(readText(place, '/etc/absolute/file')).toBe('inside')
    expect(readText(place, '/etc/escape')).toBeUndefined()
    expect(readText(place, '/../../outside')).toBeUndefined()
    expect(inRoot(place, '/etc/absolute/../x')).toBe(path.join(root, 'etc/x'))
  })

  test.each([
    ['circle', 'is a circle of symbolic links'],
    ['huge', `has ${mostBytes + 1} bytes, more than ${mostBytes}`],
    ['fifo', 'is no regular file'],
    ['real', 'is no regular file'],
  ])('says why it does not read %s', (name, why) => {
    expect(() => readText(place, `/etc/${name}`)).toThrow(new Unseen(why))
  })

  test('lists a folder in the order of bytes; nothing is there where nothing is', () => {
    expect(listNames(place, '/etc')).toEqual(['absolute', 'circle', 'escape', 'fifo', 'huge', 'real'])
    expect(listNames(place, '/none')).toBeUndefined()
  })
})

describe('man pages', () => {
  test('are one for each command, and all are told of in the first', async () => {
    const to = path.join(folder, 'man')
    expect(await command(['man', '--to', to])).toEqual({ status: 0, stdout: '', stderr: '' })
    const pages = shown.map(({ name }) => `podwire-${name}.1`)
    expect(readdirSync(to).sort()).toEqual([...pages, 'podwire.1'].sort())
    const { stdout } = await command(['man'])
    for (const { name } of shown) expect(stdout).toContain(`podwire\\-${name}(1)`)
  })

  test.each(shown.map(({ name }) => name))('that of %s has every option', async (name) => {
    const { status, stdout } = await command(['man', name])
    expect(status).toBe(0)
    expect(stdout).toMatch(new RegExp(`^\\.TH PODWIRE.*${name.toUpperCase()} 1 `))
    const options = makeProgram().commands.find((one) => one.name() === name)?.options ?? []
    for (const { long } of options) expect(stdout).toContain((long ?? '').replaceAll('-', '\\-'))
    for (const line of stdout.split('\n')) expect(line).toMatch(/^($|\.(TH|SH|TP|PP)|[^.'])/)
  })

  test('there is none of what is no command', async () => {
    expect(await command(['man', 'none'])).toMatchObject({
      status: 2,
      stdout: '',
      stderr: expect.stringContaining('no command "none"'),
    })
  })
})

describe('completion', () => {
  const words = (...line: string[]) => candidates(makeProgram(), line).map(({ word }) => word)

  test('of commands, their options, and what these and arguments may be', () => {
    expect(words('')).toEqual([...shown.map(({ name }) => name), 'help'])
    expect(words('ver')).toEqual(['version'])
    expect(words('version', '--j')).toEqual(['--json'])
    expect(words('completion', '')).toEqual(['bash', 'zsh', 'fish'])
    expect(words('help', 'comp')).toEqual(['completion'])
    expect(words('none', '')).toEqual([])
  })

  test('is asked by words behind "--"', async () => {
    const { stdout } = await command(['complete', '--', 'version', '--js'])
    expect(stdout).toMatch(/^--json\tanswer with one JSON object/)
  })

  test.each(shells)('has a script for %s that asks the program', async (shell) => {
    const { status, stdout } = await command(['completion', shell])
    expect(status).toBe(0)
    expect(stdout).toContain('podwire complete -- ')
    expect(stdout).not.toContain('NAME')
  })

  test('there is none for another shell', async () => {
    expect(await command(['completion', 'csh'])).toMatchObject({ status: 2, stdout: '' })
  })

  test('works in bash', async () => {
    const { stdout: script } = await command(['completion', 'bash'])
    const fake = `podwire() { printf '%s\\n' $'version\\tprint "it"' $'other\\twhat'; }`
    const ask = 'COMP_WORDS=(podwire ver); COMP_CWORD=1; _podwire; declare -p COMPREPLY'
    const { stdout, stderr } = spawnSync('bash', ['-c', `${fake}\n${script}\n${ask}`], { encoding: 'utf8' })
    expect([stdout, stderr]).toEqual(['declare -a COMPREPLY=([0]="version" [1]="other")\n', ''])
  })
})
