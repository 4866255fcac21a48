type Choice = 'auto' | 'light' | 'dark';

class Theme {
  choice = $state<Choice>((document.documentElement.dataset.theme as Choice | undefined) ?? 'auto');

  next(): void {
    this.choice = this.choice === 'auto' ? 'light' : this.choice === 'light' ? 'dark' : 'auto';
    try {
      if (this.choice === 'auto') {
        delete document.documentElement.dataset.theme;
        localStorage.removeItem('sluice.theme');
      } else {
        document.documentElement.dataset.theme = this.choice;
        localStorage.setItem('sluice.theme', this.choice);
      }
    } catch {
      // It holds until the page is closed.
    }
  }
}

export const theme = new Theme();
