// Whether this node's container runtime does CDI, from its version and its configuration. Pure, and careful: a runtime
// without CDI ignores the device that Allocate names and starts the container without its GPU, so doubt is not a yes.

export type CdiSupport = { readonly kind: 'yes' | 'no' | 'unknown'; readonly why: string };

/** A configuration file as far as it could be read. */
export type FileText =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'missing' }
  | { readonly kind: 'unreadable'; readonly why: string };

export interface RuntimeFacts {
  /** `status.nodeInfo.containerRuntimeVersion` of the Node, such as `containerd://1.7.24`. */
  readonly version: string | undefined;
  /** Where containerd's configuration is on this node, and what is in it. */
  readonly configPath: string;
  readonly config: FileText;
  readonly cdiDir: string;
}

const DEFAULT_SPEC_DIRS: readonly string[] = ['/etc/cdi', '/var/run/cdi'];

export function cdiSupport(facts: RuntimeFacts): CdiSupport {
  const { version } = facts;
  const match = /^([a-z-]+):\/\/v?(\d{1,4})\.(\d{1,4})/.exec(version ?? '');
  if (match === null || version === undefined) {
    return containerdByConfig(facts, `the version of the container runtime is not known`);
  }
  const [, name, major, minor] = match;
  const release = Number(major) * 10_000 + Number(minor);
  if (name === 'containerd') return containerd(facts, version, release);
  if (name === 'cri-o' && release >= 10_023) return withSpecDirs(facts, DEFAULT_SPEC_DIRS, `${version} has CDI`);
  if (name === 'cri-o') return { kind: 'no', why: `${version} has no CDI; it came with CRI-O 1.23` };
  return { kind: 'no', why: `${version} is not known to do CDI; containerd 1.7 and CRI-O 1.23 do` };
}

function containerd(facts: RuntimeFacts, version: string, release: number): CdiSupport {
  if (release < 10_007) return { kind: 'no', why: `${version} has no CDI; it came with containerd 1.7` };
  const isOnByDefault = release >= 20_000;
  const { config, configPath } = facts;
  if (config.kind !== 'text') {
    if (isOnByDefault) return withSpecDirs(facts, DEFAULT_SPEC_DIRS, `${version} has CDI unless it was switched off`);
    const seen = config.kind === 'missing' ? `${configPath} is not there to be seen` : config.why;
    return { kind: 'unknown', why: `${version} has CDI only with enable_cdi = true, and ${seen}` };
  }
  const settings = readContainerdConfig(config.text);
  const isOn = settings.enableCdi ?? isOnByDefault;
  if (isOn) return withSpecDirs(facts, settings.specDirs ?? DEFAULT_SPEC_DIRS, `${version} has CDI switched on`);
  if (settings.enableCdi === undefined && settings.hasImports) {
    const why = `${version} has CDI only with enable_cdi = true, which may be in a file that ${configPath} imports`;
    return { kind: 'unknown', why };
  }
  const where = `in the CRI section of ${configPath}`;
  return { kind: 'no', why: `${version} has CDI switched off; set enable_cdi = true ${where} and restart containerd` };
}

/** Without a version, only a configuration that speaks of CDI says anything. */
function containerdByConfig(facts: RuntimeFacts, otherwise: string): CdiSupport {
  const settings = facts.config.kind === 'text' ? readContainerdConfig(facts.config.text) : undefined;
  if (settings?.enableCdi === undefined) return { kind: 'unknown', why: otherwise };
  if (!settings.enableCdi) return { kind: 'no', why: `${facts.configPath} says enable_cdi = false` };
  const why = `${facts.configPath} says enable_cdi = true`;
  return withSpecDirs(facts, settings.specDirs ?? DEFAULT_SPEC_DIRS, why);
}

function withSpecDirs({ cdiDir, configPath }: RuntimeFacts, specDirs: readonly string[], why: string): CdiSupport {
  if (specDirs.map(plainFolder).includes(plainFolder(cdiDir))) return { kind: 'yes', why };
  const read = specDirs.join(', ') || 'no folder';
  return {
    kind: 'no',
    why: `${why}, but looks for specs in ${read} and not in ${cdiDir}; change --cdi-dir, or cdi_spec_dirs in ${configPath}`,
  };
}

/** `/var/run` is a link to `/run`. */
function plainFolder(path: string): string {
  return path.replace(/\/+$/, '').replace(/^\/var\/run(?=\/|$)/, '/run');
}

interface ContainerdSettings {
  readonly enableCdi: boolean | undefined;
  readonly specDirs: readonly string[] | undefined;
  readonly hasImports: boolean;
}

/** Not a TOML parser: the names looked for mean one thing only, in whatever section and version of the file. */
function readContainerdConfig(text: string): ContainerdSettings {
  const lines = text
    .slice(0, 1_000_000)
    .split('\n')
    .filter((line) => !line.trimStart().startsWith('#'));
  const plain = lines.join('\n');
  const enabled = /^\s*enable_cdi\s*=\s*(true|false)\b/m.exec(plain)?.[1];
  const dirs = /^\s*cdi_spec_dirs\s*=\s*\[([^\]]*)\]/m.exec(plain)?.[1];
  const imports = /^\s*imports\s*=\s*\[([^\]]*)\]/m.exec(plain)?.[1];
  return {
    enableCdi: enabled === undefined ? undefined : enabled === 'true',
    specDirs: dirs === undefined ? undefined : quoted(dirs),
    hasImports: imports !== undefined && quoted(imports).length > 0,
  };
}

function quoted(list: string): readonly string[] {
  return [...list.matchAll(/"([^"\n]*)"|'([^'\n]*)'/g)].map(([, double, single]) => double ?? single ?? '');
}
