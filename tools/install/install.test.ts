import {
  chmodSync,
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { command } from '../../shared/testing/program.js'
import { refusalOf } from '../frame/disk.js'
import { withoutChains, withoutTables } from './rules.js'
import { answerOf } from './suite.js'

let root: string
const at = (...parts: string[]) => path.join(root, ...parts)
const inBin = (name: string) => readFileSync(at('bin', name), 'utf8')

beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'podwire-install-'))
  onTestFinished(() => rmSync(root, { recursive: true }))
})

function put(file: string, text: string, mode = 0o755): void {
  mkdirSync(path.dirname(at(file)), { recursive: true })
  writeFileSync(at(file), text)
  chmodSync(at(file), mode)
}

const names = ['bridge', 'host-local', 'portmap']

/** A suite as an archive has it: one file under all names, which answers VERSION. */
function archive(content: string, answer = `{"cniVersion":"1.1.0","supportedVersions":["1.0.0"]}`): void {
  rmSync(at('from'), { recursive: true, force: true })
  put('from/bridge', `#!/bin/sh\n# ${content}\necho '${answer}'\n`)
  for (const name of names.slice(1)) linkSync(at('from/bridge'), at('from', name))
  put('from/podwire', `#!/bin/sh\n# ${content}\necho '{"plugins":[]}'\n`)
  put('from/podwire-lib/libatomic.so.1', content, 0o644)
  put('from/podwire-share/schemas/bridge.schema.json', content, 0o644)
  for (const name of ['LICENSE', 'README.md']) put(`from/${name}`, content, 0o644)
}

const install = (...words: string[]) => command(['install', '--from', at('from'), '--to', at('bin'), ...words])
const list = (folder = 'bin') => readdirSync(at(folder)).sort()
const dated = () => list('bin/podwire-kept').filter((name) => name !== 'installed.json')

describe('install', () => {
  test('puts one file under all names, the libraries and what is shared into a new folder', async () => {
    archive('one')
    const { status, stdout, stderr } = await install()
    expect([status, stderr]).toEqual([0, ''])
    expect(stdout).toContain('added bridge\n')
    expect(list()).toEqual([...names, 'podwire', 'podwire-kept', 'podwire-lib', 'podwire-share'].sort())
    const [bridge, portmap] = ['bridge', 'portmap'].map((name) => statSync(at('bin', name)))
    expect([bridge?.ino, bridge?.nlink, (bridge?.mode ?? 0) & 0o777]).toEqual([portmap?.ino, 3, 0o755])
    expect(statSync(at('bin/podwire-lib/libatomic.so.1')).mode & 0o777).toBe(0o644)
    expect(statSync(at('bin/podwire-lib')).mode & 0o777).toBe(0o755)
  })

  test('keeps what it replaces as links under the date, and leaves files of others', async () => {
    archive('one')
    put('bin/bridge', 'official')
    put('bin/flannel', 'flannel')
    const { ino } = statSync(at('bin/bridge'))
    const running = openSync(at('bin/bridge'), 'r')
    onTestFinished(() => closeSync(running))
    expect((await install()).stdout).toContain('replaced bridge\n')
    const [folder = ''] = dated()
    expect(folder).toMatch(/^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d+Z$/)
    expect(statSync(at('bin/podwire-kept', folder, 'bridge')).ino).toBe(ino)
    expect([readFileSync(running, 'utf8'), inBin('flannel')]).toEqual(['official', 'flannel'])
    expect(inBin('bridge')).toContain('# one')
  })

  test('does nothing a second time', async () => {
    archive('one')
    await install()
    const { status, stdout } = await install()
    expect([status, stdout]).toEqual([0, expect.stringContaining(' already.\n')])
    expect(dated()).toHaveLength(1)
  })

  test('links names again that somebody has copied', async () => {
    archive('one')
    await install()
    const text = inBin('portmap')
    rmSync(at('bin/portmap'))
    put('bin/portmap', text)
    await install()
    expect(statSync(at('bin/portmap')).ino).toBe(statSync(at('bin/bridge')).ino)
  })

  test.each([
    ['no JSON', 'nonsense', 'VERSION answers no JSON'],
    ['something else', '{}', 'VERSION answers something else'],
  ])('changes nothing when a file answers VERSION with %s', async (_, answer, why) => {
    archive('one', answer)
    put('bin/bridge', 'official')
    const { status, stdout, stderr } = await install()
    expect([status, stdout]).toEqual([2, ''])
    expect(stderr).toContain(why)
    expect(list()).toEqual(['bridge'])
    expect(inBin('bridge')).toBe('official')
  })

  test('changes nothing when a file cannot be started', async () => {
    archive('one')
    writeFileSync(at('from/bridge'), '\x7fELF garbled')
    expect((await install()).stderr).toMatch(
      /bridge is not installed: (VERSION ends with status 127|cannot be started)/,
    )
    expect(list()).toEqual([])
  })

  test('changes nothing where a directory has a name', async () => {
    archive('one')
    mkdirSync(at('bin/portmap'), { recursive: true })
    const { status, stderr } = await install()
    expect([status, stderr]).toEqual([2, expect.stringContaining('portmap is a directory')])
    expect(list()).toEqual(['portmap'])
  })

  test('gives back what it had changed when it cannot go on', async () => {
    archive('one')
    put('bin/bridge', 'official')
    // The libraries come first, and have no place.
    put('bin/podwire-lib', 'a file')
    const { status } = await install()
    expect(status).toBe(2)
    expect(list()).toEqual(['bridge', 'podwire-lib'])
    expect([inBin('bridge'), inBin('podwire-lib')]).toEqual(['official', 'a file'])
  })

  test('--dry-run changes nothing', async () => {
    archive('one')
    put('bin/bridge', 'official')
    const { status, stdout } = await install('--dry-run')
    expect([status, stdout]).toEqual([1, expect.stringContaining('would replace bridge\nwould add host-local\n')])
    expect(list()).toEqual(['bridge'])
  })

  test.each([
    [['--from', '/nonexistent'], 'holds no plugin of podwire'],
    [['--rollback'], 'holds nothing to give back'],
    [['--check'], 'is not there'],
  ])('%j is wrong use here', async (words, why) => {
    const { status, stderr } = await command(['install', '--to', at('bin'), ...words])
    expect([status, stderr]).toEqual([2, expect.stringContaining(why)])
  })

  test('does not install a folder into itself', async () => {
    archive('one')
    symlinkSync('from', at('bin'))
    expect(await install()).toMatchObject({ status: 2, stderr: expect.stringContaining('where it already is') })
  })
})

describe('an installation that ends half-way', () => {
  test('leaves nothing of what it was about to keep', async () => {
    // What is kept has a longer path than what is made ready: of the last file it is too long.
    const name = 'podwire-share/schemas/bridge.schema.json'
    const length = 4100 - `/podwire-kept/2026-01-01T00-00-00.000Z/${name}`.length
    let to = root
    while (to.length < length - 201) to += '/'.padEnd(200, 'x')
    to += '/'.padEnd(length - to.length, 'x')
    archive('one')
    const into = () => command(['install', '--from', at('from'), '--to', to])
    expect(await into()).toMatchObject({ status: 0, stderr: '' })
    const before = readdirSync(path.join(to, 'podwire-kept'))
    archive('two')
    expect(await into()).toMatchObject({ status: 2, stderr: expect.stringContaining('ENAMETOOLONG') })
    expect(readdirSync(path.join(to, 'podwire-kept'))).toEqual(before)
    expect(readFileSync(path.join(to, 'bridge'), 'utf8')).toContain('# one')
  })

  test('because it was killed is cleared away by a later one', async () => {
    archive('one')
    for (const name of ['.podwire.killed/bridge', '.podwire.atwork/bridge', '.podwire.file']) put(`bin/${name}`, 'x')
    const old = new Date(Date.now() - 2 * 3_600_000)
    for (const name of ['.podwire.killed', '.podwire.file']) utimesSync(at('bin', name), old, old)
    expect(await install()).toMatchObject({ status: 0, stderr: '' })
    expect(list().filter((name) => name.startsWith('.'))).toEqual(['.podwire.atwork', '.podwire.file'])
  })

  test('says whose the folder is where it is somebody else', () => {
    put('bin/bridge', 'official')
    const refused = (code: string, file: string) => Object.assign(new Error(`${code}: no`), { code, path: at(file) })
    const me = statSync(at('bin')).uid
    const other = `belongs to user ${me}: make it that of ${me + 1}`
    expect(refusalOf(refused('EACCES', 'bin/.new'), me + 1)).toBe(`EACCES: no: ${at('bin')} ${other}`)
    expect(refusalOf(refused('EPERM', 'bin/bridge'), me + 1)).toBe(`EPERM: no: ${at('bin/bridge')} ${other}`)
    expect(refusalOf(refused('EPERM', 'bin/bridge'), me)).toBe('EPERM: no')
    expect(refusalOf(refused('EROFS', 'bin/bridge'), me + 1)).toBe('EROFS: no')
    expect(refusalOf(refused('EACCES', 'none/none'), me + 1)).toBe('EACCES: no')
  })
})

describe('install --rollback', () => {
  const rollback = (...words: string[]) => command(['install', '--rollback', '--to', at('bin'), ...words])

  test('gives back step by step what was there, and removes what was added', async () => {
    put('bin/bridge', 'official')
    put('bin/flannel', 'flannel')
    archive('one')
    await install()
    const first = inBin('bridge')
    archive('two')
    await install()
    expect(await rollback()).toMatchObject({ status: 0, stdout: expect.stringContaining('gave back bridge\n') })
    expect([inBin('bridge'), inBin('podwire-lib/libatomic.so.1')]).toEqual([first, 'one'])
    expect(await rollback('--dry-run')).toMatchObject({
      status: 1,
      stdout: expect.stringContaining('would remove portmap\n'),
    })
    expect(await rollback()).toMatchObject({ status: 0 })
    expect(list()).toEqual(['bridge', 'flannel'])
    expect(inBin('bridge')).toBe('official')
  })

  test('gives back four installations one by one, and then what was there before all of them', async () => {
    const kept: string[] = []
    put('bin/bridge', 'official')
    put('bin/podwire-share/schemas/list.schema.json', 'somebody put it there')
    const versions = ['one', 'two', 'three', 'four', 'five', 'six', 'seven']
    for (const version of versions) {
      archive(version)
      if (version === 'two') put('from/podwire-share/schemas/list.schema.json', version, 0o644)
      if (version === 'three') put('from/podwire-share/schemas/dummy.schema.json', version, 0o644)
      await install()
      kept.push(inBin('bridge'))
      expect(dated().length).toBeLessThanOrEqual(5)
    }
    for (const before of kept.slice(2, -1).toReversed()) {
      expect(await rollback()).toMatchObject({ status: 0, stderr: '' })
      expect(inBin('bridge')).toBe(before)
    }
    expect(await rollback()).toMatchObject({ status: 0, stderr: '' })
    expect([list(), list('bin/podwire-share/schemas')]).toEqual([['bridge', 'podwire-share'], ['list.schema.json']])
    expect([inBin('bridge'), inBin('podwire-share/schemas/list.schema.json')]).toEqual([
      'official',
      'somebody put it there',
    ])
    expect((await rollback()).stderr).toContain('holds nothing to give back')
  })

  test('of many installations does not hinder the next where a list is garbled', async () => {
    for (const version of ['one', 'two', 'three', 'four', 'five', 'six', 'seven']) {
      archive(version)
      expect((await install()).status).toBe(0)
      writeFileSync(at('bin/podwire-kept', dated()[0] ?? '', 'replaced.json'), '{')
    }
    expect(inBin('bridge')).toContain('# seven')
    expect(await rollback()).toMatchObject({ status: 0 })
    expect(inBin('bridge')).toContain('# six')
  })

  test('leaves what somebody has put there since', async () => {
    put('bin/bridge', 'official')
    archive('one')
    await install()
    rmSync(at('bin/bridge'))
    put('bin/bridge', 'a newer official one')
    const { status, stderr } = await rollback()
    expect([status, stderr]).toEqual([1, expect.stringContaining('bridge was changed since')])
    expect(list()).toEqual(['bridge'])
    expect(inBin('bridge')).toBe('a newer official one')
  })

  test('trusts no list that leads elsewhere', async () => {
    archive('one')
    await install()
    const file = at('bin/podwire-kept', dated()[0] ?? '', 'replaced.json')
    const value = JSON.parse(readFileSync(file, 'utf8'))
    writeFileSync(file, JSON.stringify({ ...value, added: ['../victim'] }))
    put('victim', 'x')
    expect(await rollback()).toMatchObject({ status: 2, stderr: expect.stringContaining('is garbled') })
    expect(existsSync(at('victim'))).toBe(true)
  })
})

const binary = '\x7fELF this is a defect of podwire; please report it with this text'

describe('install --check', () => {
  const about = 'echo "CNI bridge plugin v1.10.0" >&2; echo "CNI protocol versions supported: 0.4.0, 1.0.0" >&2'
  const versions = `echo '{"supportedVersions":["1.0.0"]}'`
  test.each([
    ['that says all of itself', `${about}`, 1, '1.10.0', undefined],
    ['that does not say its version', `[ "$CNI_COMMAND" ] && ${versions}`, 2, '', undefined],
    [
      'that ends with an error',
      `${about}; exit 3`,
      2,
      '1.10.0',
      'VERSION ends with status 3: CNI bridge plugin v1.10.0',
    ],
  ])('starts a plugin %s no oftener than it must', (_, body, starts, version, fault) => {
    put('bridge', `#!/bin/sh\necho >>${at('starts')}\n${body}\n`)
    expect(answerOf(at('bridge'), 'bridge')).toEqual({ version, fault })
    expect(readFileSync(at('starts'), 'utf8').length).toBe(starts)
  })

  test('says whose a program is, and whether it was altered', async () => {
    archive('one')
    await install()
    rmSync(at('bin/portmap'))
    put('bin/portmap', `${binary} by hand`)
    put('bin/ptp', '\x7fELF github.com/containernetworking/plugins')
    put('bin/flannel', 'a script that speaks of github.com/containernetworking/plugins')
    const { status, stdout } = await command(['install', '--check', '--to', at('bin'), '--json'])
    const { programs, findings } = JSON.parse(stdout)
    expect(status).toBe(1)
    const told = programs.map(({ name, suite, altered }: never) => [name, suite, altered])
    expect(told).toEqual([
      ['bridge', 'other', false],
      ['flannel', 'other', null],
      ['host-local', 'other', false],
      ['podwire', 'other', false],
      ['portmap', 'podwire', true],
      ['ptp', 'official', null],
    ])
    expect(findings).toContain('Changed since they were installed: portmap.')
    expect(findings).toContain('Of the official suite beside podwire: ptp.')
    expect(findings).toContainEqual(expect.stringMatching(/^It does not answer VERSION: portmap: /))
  })

  test('finds nothing in what was just installed', async () => {
    archive('one')
    await install()
    expect((await command(['install', '--check', '--to', at('bin')])).status).toBe(0)
    rmSync(at('bin/portmap'))
    const { status, stdout } = await command(['install', '--check', '--to', at('bin')])
    expect([status, stdout]).toEqual([1, expect.stringContaining('Installed, and no longer there: portmap.')])
  })
})

describe('uninstall', () => {
  const uninstall = (...words: string[]) => command(['uninstall', '--root', root, '--bin', '/bin', ...words])

  /** As an installation leaves it; nothing of it is started. */
  function installed(): void {
    put('bin/bridge', binary)
    linkSync(at('bin/bridge'), at('bin/portmap'))
    put('bin/podwire', '\x7fELF Look at and look after what CNI plugins do on this host.')
    put('bin/podwire-lib/libatomic.so.1', 'x')
    const share = ['schemas/bridge.schema.json', 'man/man1/podwire-ps.1', 'completions/podwire.zsh']
    const pages = ['docs/podwire.md', 'docs/plugins/bridge.md', 'docs/attachments.svg']
    const examples = ['examples/chain.conflist', 'examples/Dockerfile']
    for (const file of [...share, ...pages, ...examples]) put(`bin/podwire-share/${file}`, 'x')
  }

  test('removes what is podwire, and does it again', async () => {
    installed()
    expect(await uninstall()).toMatchObject({
      status: 0,
      stderr: '',
      stdout: expect.stringContaining('removed /bin/bridge\n'),
    })
    expect(list()).toEqual([])
    expect(await uninstall()).toMatchObject({ status: 0, stdout: 'Nothing of podwire is there.\n' })
  })

  test('leaves the files of others', async () => {
    installed()
    rmSync(at('bin/bridge'))
    put('bin/bridge', '\x7fELF another suite')
    put('bin/ptp', `#!/bin/sh\n# ${binary.slice(4)}\n`)
    symlinkSync('portmap', at('bin/static'))
    put('bin/podwire-lib/other', 'other')
    put('bin/podwire-share/man/man1/other.1', 'other')
    await uninstall()
    expect(list()).toEqual(['bridge', 'podwire-lib', 'podwire-share', 'ptp', 'static'])
    expect(list('bin/podwire-lib')).toEqual(['other'])
    expect(list('bin/podwire-share/man/man1')).toEqual(['other.1'])
  })

  test('leaves of what an installation replaced a folder, and none where it replaced nothing', async () => {
    for (const [official, left] of [
      [[], []],
      [['bridge'], ['podwire-kept']],
    ] as const) {
      rmSync(at('bin'), { recursive: true, force: true })
      for (const name of official) put(`bin/${name}`, 'official')
      archive('one')
      await install()
      for (const name of ['bridge', 'host-local', 'portmap', 'podwire']) rmSync(at('bin', name))
      installed()
      await uninstall()
      expect(list()).toEqual(left)
    }
  })

  test('leaves the libraries to a name of somebody else that leads to podwire', async () => {
    installed()
    linkSync(at('bin/bridge'), at('bin/cnv-bridge'))
    expect((await uninstall()).stdout).toContain('cnv-bridge is podwire, too')
    expect(list()).toEqual(['cnv-bridge', 'podwire-lib'])
  })

  test('--dry-run removes nothing', async () => {
    installed()
    const before = list()
    expect(await uninstall('--dry-run')).toMatchObject({
      status: 1,
      stdout: expect.stringContaining('would remove /bin/portmap\n'),
    })
    expect(list()).toEqual(before)
  })
})

describe('rules of podwire', () => {
  test('are taken out of what iptables-save shows', () => {
    const saved = [
      '*filter',
      ':FORWARD ACCEPT [0:0]',
      ':PODWIRE-ADMITTED - [0:0]',
      '-A FORWARD -m comment --comment x -j PODWIRE-ADMITTED',
      '-A FORWARD -j CNI-FORWARD',
      'COMMIT',
      '*nat',
      ':CNI-HOSTPORT-DNAT - [0:0]',
      'COMMIT',
    ].join('\n')
    const jump = '-D FORWARD -m comment --comment x -j PODWIRE-ADMITTED'
    expect(withoutChains(saved)).toBe(`*filter\n${jump}\n-F PODWIRE-ADMITTED\n-X PODWIRE-ADMITTED\nCOMMIT\n`)
  })

  test('are taken out of nftables with their tables, and by their comment out of others', () => {
    const ruleset = [
      'table ip filter {',
      '  chain FORWARD {',
      '    counter accept comment "podwire: admitted by the firewall plugin" # handle 7',
      '    counter accept comment "other" # handle 8',
      'table ip podwire {',
      '  chain firewall {',
      '    accept comment "podwire: admitted by the firewall plugin" # handle 9',
    ].join('\n')
    expect(withoutTables('table ip filter\ntable ip podwire\ntable inet podwire', ruleset)).toBe(
      'delete table ip podwire\ndelete rule ip filter FORWARD handle 7\n',
    )
  })
})
